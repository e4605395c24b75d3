//! Commands become final entries, the ledger proves itself, and listings survive a restart.

mod support;

use salus_ledger::proof::ConsistencyProof;
use salus_ledger::{CertifiedCheckpoint, MemberList};
use salus_proto::api::Page;
use salus_proto::api::attempt::Attempt;
use salus_proto::api::ledger::{Consistency, EntryDetail, EntryView, LedgerStatus, MemberDetail};
use salus_proto::checkpoint::SignedNote;
use salus_proto::command::{Action, IncidentKind, Outcome};
use salus_proto::ids::{AccessId, PatientAlias, PrincipalId};
use salus_proto::record::KeyClass;
use salus_proto::role::{Purpose, Role};
use salus_proto::{Digest, TimestampMs};
use support::{ORGANISATION, Setup, TestNode};

fn incident(number: u8) -> Action {
    Action::ReportIncident {
        kind: IncidentKind::Intrusion,
        evidence: Digest([number; 32]),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_become_entries_that_anybody_can_check() {
    let node = TestNode::start().await;
    let house = node.organisation().await;
    for number in 0..3 {
        let receipt = house.act(incident(number)).await.unwrap();
        assert_eq!(
            (receipt.entry, receipt.outcome),
            (u64::from(number), Outcome::Accepted)
        );
    }
    let page: Page<EntryView> = house.get("/ledger/entries?limit=2").await.unwrap();
    assert_eq!((page.items.len(), page.next.as_deref()), (2, Some("1")));
    let rest: Page<EntryView> = house.get("/ledger/entries?limit=2&after=1").await.unwrap();
    assert_eq!((rest.items[0].index, rest.next), (2, None));

    // The checkpoint verifies with the members' keys, and an entry's bytes hash to its tile.
    let anybody = node.caller();
    let members: Page<MemberDetail> = anybody.get("/members").await.unwrap();
    assert_eq!(members.items[0].name, "North");
    let text = loop {
        let text = anybody.bytes("/ledger/checkpoint").await;
        let text = String::from_utf8(text).unwrap();
        let note = SignedNote::parse(&text).unwrap();
        let members = MemberList::new(0, node.genesis.members.clone()).unwrap();
        let certified =
            CertifiedCheckpoint::verify(&note, &members, &node.genesis.origin()).unwrap();
        if certified.checkpoint().size == 3 {
            break text;
        }
        tokio::task::yield_now().await;
    };
    assert!(text.starts_with("salus/test\n3\n"));
    let tile = anybody.bytes("/ledger/tile/0/000.p/3").await;
    let detail: EntryDetail = house.get("/ledger/entries/1").await.unwrap();
    let leaf = salus_ledger::tree::leaf_hash(&detail.bytes.0);
    assert_eq!(tile[32..64], leaf.0);

    let proof: Consistency = anybody
        .get("/ledger/consistency?from=1&to=3")
        .await
        .unwrap();
    let consistency = ConsistencyProof {
        first: proof.first,
        second: proof.second,
        path: proof.path,
    };
    consistency
        .verify(&proof.first_root, &proof.second_root)
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_command_is_a_problem_that_names_its_entry() {
    let node = TestNode::start().await;
    let patient = node.person(Role::Patient).await;
    let action = Action::RequestAccess {
        access: AccessId([5; 16]),
        alias: PatientAlias([6; 16]),
        classes: vec![KeyClass::Medical],
        purpose: Purpose::PatientRequest,
        until: TimestampMs(u64::MAX >> 8),
    };
    let problem = patient.act(action).await.unwrap_err();
    assert_eq!((problem.status, problem.code.as_str()), (404, "not-found"));
    assert_eq!(problem.entry, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn ledger_and_listings_go_on_after_a_restart() {
    let mut node = TestNode::start().await;
    let house = node.organisation().await;
    house.act(incident(1)).await.unwrap();
    node.settle().await;
    node.stop().await;
    node.start_again().await;
    let status: LedgerStatus = node.caller().get("/ledger").await.unwrap();
    assert_eq!(status.size, 1);
    let house = node.organisation().await;
    let receipt = house.act(incident(2)).await.unwrap();
    assert_eq!(receipt.entry, 1);
    node.settle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_listing_answers_on_both_engines() {
    salus_runtime::testing::for_each_url(async |url| {
        let setup = Setup {
            database: Some(url),
            ..Setup::default()
        };
        let mut node = TestNode::with(setup).await;
        let house = node.organisation().await;
        let alias = PatientAlias([6; 16]);
        house.act(Action::OpenPatient { alias }).await.unwrap();
        let patient = node.person(Role::Patient).await;
        house
            .act(Action::LinkPatient {
                alias,
                patient: patient.id,
            })
            .await
            .unwrap();
        let doctor = node.person(Role::Doctor).await;
        let request = Action::RequestAccess {
            access: AccessId([5; 16]),
            alias,
            classes: vec![KeyClass::Medical],
            purpose: Purpose::Treatment,
            until: node.clock.now().plus_ms(60_000),
        };
        doctor.act(request).await.unwrap();
        assert_eq!(
            doctor.get::<()>("/attempts").await.unwrap_err().code,
            "not-allowed"
        );
        node.settle().await;
        let operator = node.person(Role::Operator).await;
        for (person, path, items) in [
            (&operator, "/principals?standing=authorised&role=patient", 1),
            (&operator, "/attempts", 1),
            (&operator, "/patients?query=x", 0),
            (&patient, "/patients/mine", 1),
            (&patient, "/doctors", 1),
            (&doctor, "/accesses?as=holder&status=requested", 1),
            (&doctor, "/consultations", 0),
            (&doctor, "/prescriptions", 0),
            (&house, "/accesses?as=custodian", 1),
            (&house, "/proposals", 0),
            (
                &house,
                "/patients/06060606060606060606060606060606/receipts",
                0,
            ),
            (
                &house,
                "/patients/06060606060606060606060606060606/records",
                0,
            ),
        ] {
            let page: Page<serde_json::Value> = person.get(path).await.unwrap();
            assert_eq!(page.items.len(), items, "{path}");
        }
        node.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_that_repeat_are_reported_on_the_ledger_once() {
    let node = TestNode::start().await;
    let doctor = node.person(Role::Doctor).await;
    let operator = node.person(Role::Operator).await;
    // Neither a few refusals nor requests without a session make an incident.
    for _ in 0..9 {
        doctor.get::<()>("/attempts").await.unwrap_err();
        node.caller().get::<()>("/me").await.unwrap_err();
    }
    let reports = async || {
        let entries: Page<EntryView> = operator.get("/ledger/entries?limit=500").await.unwrap();
        let reports = entries
            .items
            .into_iter()
            .filter_map(|entry| match entry.action {
                Action::ReportIncident { kind, evidence } => {
                    Some((entry.principal, kind, evidence))
                }
                _ => None,
            });
        reports.collect::<Vec<_>>()
    };
    let _: Page<Attempt> = operator.get("/attempts").await.unwrap();
    assert_eq!(reports().await, []);
    doctor.get::<()>("/attempts").await.unwrap_err();
    let found = async {
        loop {
            if let [report] = reports().await[..] {
                return report;
            }
        }
    };
    let found = tokio::time::timeout(core::time::Duration::from_secs(60), found).await;
    let (reporter, kind, _) = found.expect("the tenth refusal is reported");
    assert_eq!(
        (reporter, kind),
        (PrincipalId(ORGANISATION.0), IncidentKind::Intrusion)
    );
    for _ in 0..5 {
        doctor.get::<()>("/attempts").await.unwrap_err();
    }
    let _: Page<Attempt> = operator.get("/attempts").await.unwrap();
    assert_eq!(reports().await.len(), 1, "once an hour");
    assert!(
        !format!("{:?}", reports().await).contains(&doctor.id.to_string()),
        "whom it is about stays off the ledger"
    );
}
