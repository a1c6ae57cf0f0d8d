//! C's `strftime` for chat templates: dates in UTC, in English.

use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

const DAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];

/// Writes a time as C's `strftime` does, for the fields that templates use.
pub(crate) fn format(format: &str, time: SystemTime) -> Result<String, String> {
    // If the clock is set before 1970, the time is the beginning of 1970.
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let [days, in_day] = [seconds / 86_400, seconds % 86_400];
    let (year, month, day) = date(days);
    let [month_name, day_name] = [MONTHS[month as usize - 1], DAYS[days as usize % 7]];
    let mut written = String::new();
    let mut rest = format.chars();
    while let Some(letter) = rest.next() {
        if letter != '%' {
            written.push(letter);
            continue;
        }
        match rest.next() {
            Some('Y') => written += &year.to_string(),
            Some('m') => written += &format!("{month:02}"),
            Some('d') => written += &format!("{day:02}"),
            Some('B') => written += month_name,
            Some('b') => written += &month_name[..3],
            Some('A') => written += day_name,
            Some('a') => written += &day_name[..3],
            Some('H') => written += &format!("{:02}", in_day / 3600),
            Some('M') => written += &format!("{:02}", in_day / 60 % 60),
            Some('S') => written += &format!("{:02}", in_day % 60),
            Some('%') => written.push('%'),
            other => {
                return Err(format!("strftime_now({format:?}): {other:?} is none of Y m d B b A a H M S %"));
            }
        }
    }
    Ok(written)
}

/// Year, month and day from the days since 1 January 1970, in the Gregorian calendar.
fn date(mut days: u64) -> (u64, u64, u64) {
    let mut year = 1970;
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let year_length = |year| if is_leap(year) { 366 } else { 365 };
    // Whole cycles of 400 years first: the loop stays short for any clock.
    year += days / 146_097 * 400;
    days %= 146_097;
    while days >= year_length(year) {
        days -= year_length(year);
        year += 1;
    }
    let lengths = [31, if is_leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    (year, month as u64 + 1, days + 1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Values of GNU `date --utc`.
    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "Thursday Thu 01 January Jan 01 1970 00:00:00 100%"),
            (951_782_399, "Monday Mon 28 February Feb 02 2000 23:59:59 100%"),
            (951_827_696, "Tuesday Tue 29 February Feb 02 2000 12:34:56 100%"),
            (1_735_689_599, "Tuesday Tue 31 December Dec 12 2024 23:59:59 100%"),
            (4_107_542_400, "Monday Mon 01 March Mar 03 2100 00:00:00 100%"),
        ] {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(format("%A %a %d %B %b %m %Y %H:%M:%S 100%%", time).expect("known fields"), expected);
        }
        assert!(format("%Q", UNIX_EPOCH).expect_err("no such field").contains("'Q'"));
    }
}
