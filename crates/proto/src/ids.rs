//! One identifier type per kind of thing, so that a patient is never passed for a doctor.
//!
//! An id is 16 random bytes and says nothing about what it names. Text form: 32 hexadecimal digits.

use core::fmt;
use core::str::FromStr;

use minicbor::{Decode, Decoder, Encode, Encoder};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Entropy;
use crate::digest::fixed_bytes;

/// Text that is not 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id is 32 hexadecimal digits")]
pub struct NotAnId;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// A fresh random id.
            pub fn random(entropy: &mut dyn Entropy) -> Self {
                let mut bytes = [0; 16];
                entropy.fill(&mut bytes);
                Self(bytes)
            }

            /// The id's bytes.
            pub fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                let mut bytes = [0; 16];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| NotAnId)?;
                Ok(Self(bytes))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl<C> Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.bytes(&self.0)?;
                Ok(())
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
                fixed_bytes(d).map(Self)
            }
        }
    )*};
}

ids! {
    /// A consortium: the replay domain of every command.
    ConsortiumId;
    /// A member organisation and the node it runs.
    OrganisationId;
    /// A person, device or service that signs: patient, doctor, staff, operator, data user, auditor.
    PrincipalId;
    /// The random name under which one hospital's records of one patient stand on the ledger.
    PatientAlias;
    /// One sealed record.
    RecordId;
    /// One intake batch: the records that one signed manifest lists.
    BatchId;
    /// One request for access and, once approved, the grant it became.
    AccessId;
    /// One consultation between a patient and a doctor.
    ConsultationId;
    /// One proposed change of the consortium's membership.
    ProposalId;
    /// One federated training job.
    JobId;
}
