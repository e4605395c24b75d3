//! The list of members as the state holds it.

use salus_ledger::MemberList;

use crate::Error;

/// Reads the state's list of members.
pub(crate) fn list(bytes: &[u8]) -> Result<MemberList, Error> {
    match MemberList::from_bytes(bytes) {
        Ok(list) => Ok(list),
        // A bare array of members, which is version 0 of the list.
        Err(error) => {
            let versioned = [&[0xa2, 0x00, 0x00, 0x01], bytes].concat();
            MemberList::from_bytes(&versioned).map_err(|_| error.into())
        }
    }
}
