//! What a server says of itself: for `worker doctor`, never for work.

use redis::Value;

use super::Redis;
use crate::any::{About, Remark};
use engine::queue::QueueError;

/// The oldest version that has what the scripts call.
const OLDEST: (u32, u32) = (6, 2);

impl Redis {
    /// What the server says of itself. What it does not tell this user is left out.
    ///
    /// # Errors
    /// Where it cannot be reached, or does not let us in.
    pub async fn about(&self) -> Result<About, QueueError> {
        let sent = self.connection.send(redis::cmd("HELLO").arg(2)).await;
        sent.map_err(|error| self.connection.explain(&error))?;
        let mut info = String::new();
        for section in ["server", "memory", "persistence"] {
            if let Ok(Value::BulkString(text)) = self.connection.send(redis::cmd("INFO").arg(section)).await {
                info += &String::from_utf8_lossy(&text);
            }
        }
        let version = field(&info, "valkey_version").or_else(|| field(&info, "redis_version"));
        let name = if field(&info, "valkey_version").is_some() { "Valkey" } else { "Redis" };
        let mut about = About {
            server: match version {
                Some(version) => format!("{name} {version} at {}", self.server()),
                None => format!("{} (it does not tell its version)", self.server()),
            },
            time_ms: self.time_ms().await,
            remarks: remarks(&info),
        };
        if let Some(missing) = self.missing_rules().await.filter(|missing| !missing.is_empty()) {
            about.remarks.push(Remark {
                is_problem: true,
                said: format!("this user may not do all that is needed: {} missing", missing.join(" ")),
                hint: self.grant(&missing.join(" ")),
            });
        }
        Ok(about)
    }

    async fn time_ms(&self) -> Option<u64> {
        let Ok(Value::Array(parts)) = self.connection.send(&redis::cmd("TIME")).await else { return None };
        let number = |value: &Value| match value {
            Value::BulkString(digits) => std::str::from_utf8(digits).ok()?.parse::<u64>().ok(),
            Value::Int(number) => u64::try_from(*number).ok(),
            _ => None,
        };
        let [seconds, micros] = parts.as_slice() else { return None };
        Some(number(seconds)? * 1000 + number(micros)? / 1000)
    }
}

/// A field of INFO.
fn field<'i>(info: &'i str, name: &str) -> Option<&'i str> {
    info.lines().find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'))
}

fn remarks(info: &str) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let mut numbers = field(info, "redis_version").unwrap_or_default().split('.').map(str::parse);
    if let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next())
        && (major, minor) < OLDEST
    {
        remarks.push(Remark {
            is_problem: true,
            said: format!("version {major}.{minor} is too old"),
            hint: "the queue needs Redis 6.2 or newer".to_owned(),
        });
    }
    if let Some(policy) = field(info, "maxmemory_policy").filter(|policy| *policy != "noeviction") {
        remarks.push(Remark {
            is_problem: false,
            said: format!("it may evict keys when memory is short (maxmemory-policy {policy})"),
            hint: "CONFIG SET maxmemory-policy noeviction: a lost queue costs time, and pushed paths are lost with it"
                .to_owned(),
        });
    }
    if let Some("0") = field(info, "aof_enabled") {
        remarks.push(Remark {
            is_problem: false,
            said: "it keeps no append-only file".to_owned(),
            hint: "after its loss, push again what no run has taken in; or CONFIG SET appendonly yes"
                .to_owned(),
        });
    }
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_cost_pushed_paths_is_remarked() {
        let info = "# Server\r\nredis_version:6.0.16\r\nmaxmemory_policy:allkeys-lru\r\naof_enabled:0\r\n";
        let said: Vec<String> = remarks(info).into_iter().map(|remark| remark.said).collect();
        assert_eq!(
            said,
            [
                "version 6.0 is too old",
                "it may evict keys when memory is short (maxmemory-policy allkeys-lru)",
                "it keeps no append-only file",
            ]
        );
        let good = "redis_version:7.4.1\r\nmaxmemory_policy:noeviction\r\naof_enabled:1\r\n";
        assert_eq!(remarks(good), []);
        assert_eq!(remarks(""), []);
    }
}
