//! The authorization grid as text: every operation by every role, with the relations that allow it.

use std::fmt::Write as _;

use salus_policy::{Operation, Relation, may};
use salus_proto::role::Role;

fn grid() -> String {
    let mut out = String::from(
        "Who may do what. A cell lists the relations that allow it: s stranger, o own, c custodian,\n\
         p the patient concerned, h holder of a grant; * means all of them, . means nobody.\n\n",
    );
    let _ = write!(out, "{:<20}", "");
    for role in Role::ALL {
        let _ = write!(out, "{:<14}", format!("{role:?}"));
    }
    Operation::ALL
        .iter()
        .fold(out.trim_end().to_owned() + "\n", |mut out, &operation| {
            let mut line = format!("{:<20}", format!("{operation:?}"));
            for role in Role::ALL {
                let cell: String = Relation::ALL
                    .iter()
                    .zip("socph".chars())
                    .filter(|&(&relation, _)| may(role, operation, relation))
                    .map(|(_, letter)| letter)
                    .collect();
                let cell = match cell.as_str() {
                    "" => ".",
                    "socph" => "*",
                    some => some,
                };
                let _ = write!(line, "{cell:<14}");
            }
            out.push_str(line.trim_end());
            out.push('\n');
            out
        })
}

#[test]
fn the_grid_is_the_committed_one() {
    let expected = include_str!("expected/grid.txt");
    assert!(
        grid() == expected,
        "the grid changed; review it, then commit it as:\n{}",
        grid()
    );
}
