//! When a timer's program runs.

use serde::{Deserialize, Serialize};

use crate::newtype::text_newtype;

/// A calendar event as systemd.time(7) has them, such as `hourly` or `Mon..Fri 02:30 Europe/Berlin`:
/// at most 100 characters of those that occur in one. Whether systemd understands it is for
/// systemd to say.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Schedule(String);

impl Schedule {
    fn check(text: &str) -> Result<(), &'static str> {
        if text.trim().is_empty() || text.len() > 100 {
            return Err("it has not 1 to 100 characters");
        }
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b" *:,.-/~_+".contains(&b)) {
            return Err(
                "a calendar event of systemd.time(7) is wanted, such as `daily` or `Mon..Fri 02:30`",
            );
        }
        Ok(())
    }
}

text_newtype!(Schedule, "schedule");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_a_calendar_event() {
        for good in [
            "hourly",
            "Mon..Fri *-*-* 02:30:00 Europe/Berlin",
            "*-02~03 00:00 Etc/GMT+1",
            "*:0/15",
            "*-*-* *:*:00.5,30",
            "Sat,Sun 10:00 America/Port-au-Prince",
        ] {
            assert!(good.parse::<Schedule>().is_ok(), "{good}");
        }
        let refused = |text: &str| text.parse::<Schedule>().unwrap_err().to_string();
        insta::assert_snapshot!(refused(""), @"`` is not a schedule: it has not 1 to 100 characters");
        insta::assert_snapshot!(refused(" "), @"` ` is not a schedule: it has not 1 to 100 characters");
        insta::assert_snapshot!(refused("daily\nUnit=sshd.service"), @r"`daily\nUnit=sshd.service` is not a schedule: a calendar event of systemd.time(7) is wanted, such as `daily` or `Mon..Fri 02:30`");
        insta::assert_snapshot!(refused("%H:00"), @"`%H:00` is not a schedule: a calendar event of systemd.time(7) is wanted, such as `daily` or `Mon..Fri 02:30`");
        insta::assert_snapshot!(refused("0 3 * * 1; rm"), @"`0 3 * * 1; rm` is not a schedule: a calendar event of systemd.time(7) is wanted, such as `daily` or `Mon..Fri 02:30`");
    }
}
