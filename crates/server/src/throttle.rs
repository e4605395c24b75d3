//! Slows down those who guess passwords or register in bulk, by account name and by address.
//!
//! With OPAQUE a client learns from the first answer whether its password was right, so every first
//! step counts as an attempt until the second one succeeds. Names are counted whether or not an
//! account of that name exists.

use std::net::IpAddr;

use salus_crypto::digest::sha256_of;
use salus_proto::{Digest, TimestampMs};
use salus_runtime::{from_row, params, transact};

use crate::app::App;
use crate::problem::{Problem, Result};

/// Attempts older than this are forgotten, in ms; also the longest wait.
const WINDOW_MS: u64 = 15 * 60_000;
/// The first wait, in ms; each further attempt doubles it.
const FIRST_WAIT_MS: u64 = 1_000;

struct Row {
    attempts: u64,
    window_start: TimestampMs,
    blocked_until: TimestampMs,
}
from_row!(Row {
    attempts,
    window_start,
    blocked_until
});

/// What attempts are counted by.
pub(crate) fn account(login: &str) -> Digest {
    sha256_of(&[b"salus/v1/throttle-account\0", login.as_bytes()])
}

/// What attempts from an address are counted by; an IPv6 caller has a whole /64 at hand.
pub(crate) fn address(address: IpAddr) -> Digest {
    let network = match address.to_canonical() {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().into_iter().take(8).collect(),
    };
    sha256_of(&[b"salus/v1/throttle-address\0", &network])
}

impl App {
    /// Counts an attempt against each subject, or refuses with the time to wait when one of them is
    /// blocked.
    pub(crate) async fn count_attempt(&self, subjects: &[(Digest, u64)]) -> Result<()> {
        let now = self.now();
        transact!(self.database, "count attempt", |tx| {
            for (subject, allowed) in subjects {
                let row: Option<Row> = tx
                    .optional(
                        "SELECT attempts, window_start, blocked_until FROM throttle
                             WHERE subject = $1",
                        &params![subject],
                    )
                    .await?;
                let row = row.filter(|row| now < row.window_start.plus_ms(WINDOW_MS));
                if let Some(row) = row.as_ref().filter(|row| now < row.blocked_until) {
                    let wait_ms = row.blocked_until.0 - now.0;
                    return Err(Problem::too_many(wait_ms.div_ceil(1000)));
                }
                let attempts = row.as_ref().map_or(0, |row| row.attempts).saturating_add(1);
                let start = row.map_or(now, |row| row.window_start);
                let until = now.plus_ms(wait_ms(attempts, *allowed));
                tx.execute(
                    "INSERT INTO throttle (subject, attempts, window_start, blocked_until)
                         VALUES ($1, $2, $3, $4)
                         ON CONFLICT (subject) DO UPDATE SET attempts = excluded.attempts,
                           window_start = excluded.window_start,
                           blocked_until = excluded.blocked_until",
                    &params![subject, attempts, start, until],
                )
                .await?;
            }
            Ok(())
        })
    }

    /// Forgets the attempts of someone who succeeded.
    pub(crate) async fn forget_attempts(&self, subject: Digest) -> Result<()> {
        let sql = "DELETE FROM throttle WHERE subject = $1";
        transact!(self.database, "forget attempts", |tx| tx
            .execute(sql, &params![subject])
            .await)?;
        Ok(())
    }
}

/// How long to wait after the `attempts`th attempt: nothing while they are allowed, then twice as
/// long each time.
fn wait_ms(attempts: u64, allowed: u64) -> u64 {
    let Some(beyond) = attempts.checked_sub(allowed) else {
        return 0;
    };
    let doublings = u32::try_from(beyond).unwrap_or(u32::MAX).min(20);
    (FIRST_WAIT_MS << doublings).min(WINDOW_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_begin_after_the_allowed_attempts_and_double_up_to_the_window() {
        let waits: Vec<u64> = (1..=6).map(|n| wait_ms(n, 3)).collect();
        assert_eq!(waits, [0, 0, 1_000, 2_000, 4_000, 8_000]);
        assert_eq!(wait_ms(u64::MAX, 3), WINDOW_MS);
    }

    #[test]
    fn one_ipv6_network_is_one_caller() {
        let a = address("2001:db8:1:2::1".parse().unwrap());
        assert_eq!(a, address("2001:db8:1:2:ffff::9".parse().unwrap()));
        assert_ne!(a, address("2001:db8:1:3::1".parse().unwrap()));
        assert_eq!(
            address("::ffff:10.0.0.1".parse().unwrap()),
            address("10.0.0.1".parse().unwrap())
        );
    }
}
