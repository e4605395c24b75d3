//! Adapts [`salus_proto::Entropy`] to the random number traits of the libraries used here.
//!
//! aws-lc-rs draws from its own generator in one place that matters: ML-DSA-65 signing is hedged, so
//! two signatures of one message differ. Everything else takes its randomness from the argument.

use core::convert::Infallible;

use hpke::rand_core::{TryCryptoRng, TryRng};
use salus_proto::Entropy;

/// The adapter, for rand_core 0.10 (`hpke`) and 0.6 (`opaque-ke`).
pub(crate) struct Adapter<'a>(pub(crate) &'a mut dyn Entropy);

impl TryRng for Adapter<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_le_bytes((&mut self.0).array()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_le_bytes((&mut self.0).array()))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(out);
        Ok(())
    }
}

impl TryCryptoRng for Adapter<'_> {}

impl opaque_ke::rand::RngCore for Adapter<'_> {
    fn next_u32(&mut self) -> u32 {
        u32::from_le_bytes((&mut self.0).array())
    }

    fn next_u64(&mut self) -> u64 {
        u64::from_le_bytes((&mut self.0).array())
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        self.0.fill(out);
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), opaque_ke::rand::Error> {
        self.0.fill(out);
        Ok(())
    }
}

impl opaque_ke::rand::CryptoRng for Adapter<'_> {}
