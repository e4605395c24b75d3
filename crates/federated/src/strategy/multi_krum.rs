//! Multi-Krum: Blanchard, El Mhamdi, Guerraoui, Stainer, "Machine Learning with Adversaries:
//! Byzantine Tolerant Gradient Descent", NeurIPS 2017, section 5: the mean of several good updates.

use std::collections::BTreeMap;

use salus_proto::ids::OrganisationId;

use super::krum;
use crate::Refusal;

/// The `keep` sites with the lowest Krum scores.
pub fn selection(
    updates: &BTreeMap<OrganisationId, Vec<i32>>,
    byzantine: usize,
    keep: usize,
) -> Result<Vec<OrganisationId>, Refusal> {
    let mut sites = krum::ranking(updates, byzantine)?;
    sites.truncate(keep);
    Ok(sites)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kept_sites_leave_the_outlier_out() {
        let updates: BTreeMap<_, _> = [(1u8, 0), (2, 10), (3, 11), (4, 12), (5, 1 << 30)]
            .map(|(i, v)| (OrganisationId([i; 16]), vec![v]))
            .into();
        let kept = selection(&updates, 1, 3).unwrap();
        assert!(
            !kept.contains(&OrganisationId([5; 16])) && kept.len() == 3,
            "{kept:?}"
        );
    }
}
