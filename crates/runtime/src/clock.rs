//! Clocks: the machine's own, and one that only moves when a test or the simulation says so.

use core::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::future::{self, BoxFuture, Either};
use salus_proto::TimestampMs;
use tokio::sync::watch;

/// Where time comes from. Wall time is for people and expiry dates and may jump; monotonic time is
/// for measuring and waiting and never goes back.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Wall time, ms since 1970-01-01T00:00:00Z.
    fn now(&self) -> TimestampMs;

    /// Time since this clock was made. Never decreases.
    fn monotonic(&self) -> Duration;

    /// Completes once [`Clock::monotonic`] has advanced by `duration`.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// A future that did not complete within its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no answer within {limit_ms} ms")]
pub struct Elapsed {
    /// The limit, in milliseconds.
    pub limit_ms: u64,
}

/// Runs `future` for at most `limit` of `clock`'s time.
///
/// # Errors
/// [`Elapsed`] when the limit passes first; the future is dropped.
pub async fn timeout<F: Future>(
    clock: &dyn Clock,
    limit: Duration,
    future: F,
) -> Result<F::Output, Elapsed> {
    match future::select(Box::pin(future), clock.sleep(limit)).await {
        Either::Left((output, _)) => Ok(output),
        Either::Right(((), _)) => Err(Elapsed {
            limit_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
        }),
    }
}

/// The machine's clock.
#[derive(Debug, Clone)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts at zero now.
    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    fn now(&self) -> TimestampMs {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        TimestampMs(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A clock that stands still until it is advanced. Clones share their time.
#[derive(Debug, Clone)]
pub struct ManualClock {
    state: Arc<watch::Sender<ManualTime>>,
}

#[derive(Debug, Clone, Copy)]
struct ManualTime {
    wall: TimestampMs,
    monotonic: Duration,
}

impl ManualClock {
    /// A clock that shows `wall`.
    pub fn new(wall: TimestampMs) -> Self {
        let start = ManualTime {
            wall,
            monotonic: Duration::ZERO,
        };
        Self {
            state: Arc::new(watch::Sender::new(start)),
        }
    }

    /// Moves both times forward and wakes whoever has slept long enough.
    pub fn advance(&self, duration: Duration) {
        self.state.send_modify(|time| {
            time.monotonic = time.monotonic.saturating_add(duration);
            let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
            time.wall = time.wall.plus_ms(ms);
        });
    }

    /// Sets the wall time, forward or back, as an operator or NTP would; monotonic time stays.
    pub fn set_wall(&self, wall: TimestampMs) {
        self.state.send_modify(|time| time.wall = wall);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> TimestampMs {
        self.state.borrow().wall
    }

    fn monotonic(&self) -> Duration {
        self.state.borrow().monotonic
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let mut time = self.state.subscribe();
        let until = time.borrow().monotonic.saturating_add(duration);
        Box::pin(async move {
            if time.wait_for(|t| t.monotonic >= until).await.is_err() {
                // Every handle is gone, so this clock will never move again.
                future::pending::<()>().await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_shows_a_plausible_time_and_never_goes_back() {
        let clock = SystemClock::new();
        // 2025-01-01 to 2100-01-01.
        assert!((1_735_689_600_000..4_102_444_800_000).contains(&clock.now().0));
        let first = clock.monotonic();
        assert!(clock.monotonic() >= first);
    }

    #[tokio::test]
    async fn sleepers_wake_when_the_manual_clock_passes_them_and_not_before() {
        let clock = ManualClock::new(TimestampMs(1_000));
        let mut short = clock.sleep(Duration::from_millis(10));
        let mut long = clock.sleep(Duration::from_millis(20));
        assert!(futures_util::poll!(&mut short).is_pending());
        clock.advance(Duration::from_millis(15));
        assert!(futures_util::poll!(&mut short).is_ready());
        assert!(futures_util::poll!(&mut long).is_pending());
        clock.advance(Duration::from_millis(5));
        assert!(futures_util::poll!(&mut long).is_ready());
        assert_eq!(clock.now(), TimestampMs(1_020));
    }

    #[tokio::test]
    async fn a_wall_clock_that_jumps_back_delays_no_sleeper() {
        let clock = ManualClock::new(TimestampMs(10_000));
        let mut sleep = clock.sleep(Duration::from_millis(10));
        clock.set_wall(TimestampMs(5));
        clock.advance(Duration::from_millis(10));
        assert!(futures_util::poll!(&mut sleep).is_ready());
        assert_eq!(clock.now(), TimestampMs(15));
    }

    #[tokio::test]
    async fn timeout_gives_the_answer_or_says_how_long_it_waited() {
        let clock = ManualClock::new(TimestampMs(0));
        let limit = Duration::from_millis(30);
        assert_eq!(timeout(&clock, limit, async { 7 }).await, Ok(7));
        let mut never = Box::pin(timeout(&clock, limit, future::pending::<()>()));
        assert!(futures_util::poll!(&mut never).is_pending());
        clock.advance(limit);
        assert_eq!(never.await, Err(Elapsed { limit_ms: 30 }));
    }
}
