//! FedBN: Li, Jiang, Zhang, Kamp, Dou, "FedBN: Federated Learning on Non-IID Features via Local
//! Batch Normalization", ICLR 2021. Averages as FedAvg does, but normalisation stays at home.

use salus_proto::federated::TensorPolicy;

/// What happens to a tensor under FedBN.
pub fn policy(normalises: bool) -> TensorPolicy {
    if normalises {
        TensorPolicy::Local
    } else {
        TensorPolicy::Shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_normalisation_stays_at_home() {
        assert_eq!(policy(true), TensorPolicy::Local);
        assert_eq!(policy(false), TensorPolicy::Shared);
    }
}
