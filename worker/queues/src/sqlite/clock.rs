//! Time since the machine booted, and which boot that was.

use std::fmt;

use nix::time::{ClockId, clock_gettime};

use engine::queue::QueueError;

/// The clock that deadlines go by: all processes on one file must have the same.
pub struct Clock {
    /// Tells boots apart: deadlines of another boot are void.
    pub(super) boot: String,
    now_ms: Box<dyn Fn() -> u64 + Send>,
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock(boot {}, {} ms)", self.boot, self.now_ms())
    }
}

impl Clock {
    pub fn new(boot: &str, now_ms: impl Fn() -> u64 + Send + 'static) -> Self {
        Self { boot: boot.to_owned(), now_ms: Box::new(now_ms) }
    }

    pub(super) fn system() -> Result<Self, QueueError> {
        let unreadable = |error| QueueError::Refused(format!("reading the time since boot: {error}"));
        clock_gettime(SINCE_BOOT).map_err(unreadable)?;
        Ok(Self::new(&boot()?, || {
            // Cannot fail where it has just been read.
            let now =
                clock_gettime(SINCE_BOOT).map_or(0, |time| time.tv_sec() * 1000 + time.tv_nsec() / 1_000_000);
            u64::try_from(now).unwrap_or(0)
        }))
    }

    pub(super) fn now_ms(&self) -> u64 {
        (self.now_ms)()
    }
}

#[cfg(target_os = "linux")]
const SINCE_BOOT: ClockId = ClockId::CLOCK_BOOTTIME;

/// On macOS and the BSDs this one passes in sleep too.
#[cfg(not(target_os = "linux"))]
const SINCE_BOOT: ClockId = ClockId::CLOCK_MONOTONIC;

#[cfg(target_os = "linux")]
fn boot() -> Result<String, QueueError> {
    const PATH: &str = "/proc/sys/kernel/random/boot_id";
    let id = std::fs::read_to_string(PATH);
    let id =
        id.map_err(|error| QueueError::Refused(format!("reading the boot's id from {PATH}: {error}")))?;
    Ok(id.trim().to_owned())
}

#[cfg(not(target_os = "linux"))]
fn boot() -> Result<String, QueueError> {
    let failed = |why: String| QueueError::Refused(format!("asking sysctl for the time of the boot: {why}"));
    let output = std::process::Command::new("sysctl").args(["-n", "kern.boottime"]).output();
    let output = output.map_err(|error| failed(error.to_string()))?;
    let id = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if id.is_empty() { Err(failed(output.status.to_string())) } else { Ok(id) }
}

#[cfg(test)]
mod tests {
    use super::Clock;

    #[test]
    fn the_systems_clock_does_not_go_back_and_has_one_boot() {
        let (one, two) = (Clock::system().expect("a clock"), Clock::system().expect("a clock"));
        assert_eq!(one.boot, two.boot);
        assert!(!one.boot.is_empty());
        let before = one.now_ms();
        assert!(before > 0 && two.now_ms() >= before);
    }

    /// And not the time of day, which people set.
    #[cfg(target_os = "linux")]
    #[test]
    fn the_systems_clock_counts_from_the_boot_that_it_names() {
        let clock = Clock::system().expect("a clock");
        let read = |path| std::fs::read_to_string(path).expect("the kernel tells");
        assert_eq!(clock.boot, read("/proc/sys/kernel/random/boot_id").trim());
        // Seconds with two digits behind the point.
        let uptime_ms = || {
            let text = read("/proc/uptime");
            let digits = text.split(' ').next().expect("a number").replace('.', "");
            digits.parse::<u64>().expect("a number") * 10
        };
        let before = uptime_ms();
        let now = clock.now_ms();
        assert!((before..uptime_ms() + 10).contains(&now), "{now} ms, and {before} ms before");
    }
}
