//! Durations as kube-proxy's configuration and flags write them: `30s`, `1h0m0s`, `1.5m`.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const UNITS: [(&str, i64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", SECOND),
    ("m", 60 * SECOND),
    ("h", 3_600 * SECOND),
];
const SECOND: i64 = 1_000_000_000;

/// Nanoseconds, which may be negative until somebody has checked them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GoDuration(i64);

// === impl GoDuration ===

impl GoDuration {
    pub const ZERO: Self = Self(0);

    pub const fn from_secs(seconds: u32) -> Self {
        Self(seconds as i64 * SECOND)
    }

    /// `None` if it is negative.
    pub fn duration(self) -> Option<Duration> {
        u64::try_from(self.0).ok().map(Duration::from_nanos)
    }
}

/// What is longer than three centuries becomes three centuries.
impl From<Duration> for GoDuration {
    fn from(duration: Duration) -> Self {
        Self(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl FromStr for GoDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text)
            .map(Self)
            .ok_or_else(|| format!("{text:?} is no duration such as 30s or 1h0m0s"))
    }
}

fn parse(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.');
        let (unit, after) = after.split_at(end.unwrap_or(after.len()));
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(nanoseconds(number, *unit)?)?;
        rest = after;
    }
    Some(sign * total)
}

/// `1.5` of a unit.
fn nanoseconds(number: &str, unit: i64) -> Option<i64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole: i64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let mut nanoseconds = whole.checked_mul(unit)?;
    let mut place = unit;
    for digit in fraction.chars() {
        // An hour has 36 * 10^11 ns, so that digits beyond the nanosecond are dropped here.
        nanoseconds = nanoseconds.checked_add(place * i64::from(digit.to_digit(10)?) / 10)?;
        place /= 10;
    }
    Some(nanoseconds)
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let total = self.0.unsigned_abs();
        let second = SECOND.unsigned_abs();
        if total > 0 && total < second {
            let (unit, name) = match total {
                0..1_000 => (1, "ns"),
                1_000..1_000_000 => (1_000, "µs"),
                _ => (1_000_000, "ms"),
            };
            return write!(f, "{}{name}", decimal(total / unit, total % unit, unit));
        }
        let (seconds, nanoseconds) = (total / second, total % second);
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if seconds >= 60 {
            write!(f, "{minutes}m")?;
        }
        write!(f, "{}s", decimal(seconds % 60, nanoseconds, second))
    }
}

/// `whole` and `part` of `unit`, a power of ten.
fn decimal(whole: u64, part: u64, unit: u64) -> String {
    if part == 0 {
        return whole.to_string();
    }
    let digits = (unit + part).to_string();
    format!("{whole}.{}", digits[1..].trim_end_matches('0'))
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_and_written_as_go_does() {
        for (text, nanoseconds, written) in [
            ("0", 0, "0s"),
            ("0s", 0, "0s"),
            ("30s", 30 * SECOND, "30s"),
            ("+30s", 30 * SECOND, "30s"),
            ("-5s", -5 * SECOND, "-5s"),
            ("1h0m0s", 3600 * SECOND, "1h0m0s"),
            ("24h", 86_400 * SECOND, "24h0m0s"),
            ("15m", 900 * SECOND, "15m0s"),
            ("1m30s", 90 * SECOND, "1m30s"),
            ("1.5h", 5400 * SECOND, "1h30m0s"),
            (".5s", SECOND / 2, "500ms"),
            ("1.s", SECOND, "1s"),
            ("1.25s", SECOND / 4 * 5, "1.25s"),
            ("100ms", SECOND / 10, "100ms"),
            ("1500us", 1_500_000, "1.5ms"),
            ("2µs", 2_000, "2µs"),
            ("7ns", 7, "7ns"),
            ("2562047h", 2_562_047 * 3600 * SECOND, "2562047h0m0s"),
        ] {
            let duration: GoDuration = text.parse().unwrap();
            assert_eq!(duration, GoDuration(nanoseconds), "{text}");
            assert_eq!(duration.to_string(), written, "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "", "-", "+", "30", "s", ".s", "1d", "1h 5m", "1.2.3s", "--5s", "1h-5m", "2562048h",
            "30 s", "3e1s",
        ] {
            assert!(text.parse::<GoDuration>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_as_the_same(nanoseconds in -i64::MAX..i64::MAX) {
            let duration = GoDuration(nanoseconds);
            prop_assert_eq!(duration.to_string().parse::<GoDuration>().unwrap(), duration);
        }
    }
}
