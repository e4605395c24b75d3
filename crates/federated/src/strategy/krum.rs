//! Krum: Blanchard, El Mhamdi, Guerraoui, Stainer, "Machine Learning with Adversaries: Byzantine
//! Tolerant Gradient Descent", NeurIPS 2017, section 4.

use std::collections::BTreeMap;

use salus_proto::ids::OrganisationId;

use crate::Refusal;

/// The sites by rising Krum score: the sum of squared distances to the `n − byzantine − 2` nearest
/// other updates. Equal scores are ordered by site. Distances are exact integers.
pub fn ranking(
    updates: &BTreeMap<OrganisationId, Vec<i32>>,
    byzantine: usize,
) -> Result<Vec<OrganisationId>, Refusal> {
    let needed = 2 * byzantine + 3;
    if updates.len() < needed {
        return Err(Refusal::TooFew {
            needed,
            found: updates.len(),
        });
    }
    let sites: Vec<_> = updates.keys().copied().collect();
    let rows: Vec<_> = updates.values().map(Vec::as_slice).collect();
    let mut distances = vec![vec![0u128; rows.len()]; rows.len()];
    for i in 0..rows.len() {
        for j in i + 1..rows.len() {
            let d = squared_distance(rows[i], rows[j]);
            distances[i][j] = d;
            distances[j][i] = d;
        }
    }
    let near = rows.len() - byzantine - 2;
    let mut scored: Vec<(u128, OrganisationId)> = distances
        .into_iter()
        .zip(sites)
        .enumerate()
        .map(|(i, (mut row, site))| {
            row.swap_remove(i);
            row.sort_unstable();
            (row.iter().take(near).sum(), site)
        })
        .collect();
    scored.sort_unstable();
    Ok(scored.into_iter().map(|(_, site)| site).collect())
}

/// Exact: a difference is below 2^32, its square below 2^64, and a model has below 2^29 values.
fn squared_distance(a: &[i32], b: &[i32]) -> u128 {
    a.iter()
        .zip(b)
        .map(|(a, b)| u128::from(u64::from(a.abs_diff(*b)).pow(2)))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(i: u8) -> OrganisationId {
        OrganisationId([i; 16])
    }

    #[test]
    fn the_outlier_ranks_last_and_the_centre_first() {
        let updates: BTreeMap<_, _> = [(1, 0), (2, 10), (3, 11), (4, 13), (5, 1 << 30)]
            .map(|(i, v)| (site(i), vec![v, v]))
            .into();
        let ranking = ranking(&updates, 1).unwrap();
        assert_eq!((ranking[0], ranking[4]), (site(3), site(5)));
    }

    #[test]
    fn too_few_updates_for_the_tolerated_faults_are_refused() {
        let updates: BTreeMap<_, _> = (0..4).map(|i| (site(i), vec![0])).collect();
        assert_eq!(
            ranking(&updates, 1),
            Err(Refusal::TooFew {
                needed: 5,
                found: 4
            })
        );
    }

    #[test]
    fn the_largest_distance_does_not_overflow() {
        assert_eq!(
            squared_distance(&[i32::MIN; 3], &[i32::MAX; 3]),
            3 * u128::from(u32::MAX).pow(2)
        );
    }
}
