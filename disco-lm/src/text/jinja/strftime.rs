//! Python's `strftime` for chat templates: dates in UTC, in English.

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

const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// The parts of a time.
struct Calendar {
    year: u64,
    month: u64,
    day: u64,
    /// Days since the beginning of the year.
    in_year: u64,
    /// Days since the last Sunday.
    weekday: u64,
    hour: u64,
    minute: u64,
    second: u64,
    microsecond: u32,
    since_epoch: u64,
}

/// Writes a time as Python does, with the additions of the GNU library: fields such as `%e`, and `-`, `_`, `0`, `^` and `#` before a
/// field's letter.
pub(super) fn format(format: &str, time: SystemTime) -> Result<String, String> {
    let calendar = calendar(time);
    let mut written = String::new();
    let mut rest = format.chars();
    while let Some(letter) = rest.next() {
        if letter != '%' {
            written.push(letter);
            continue;
        }
        let mut letter = rest.next();
        let mut flags = Vec::new();
        while let Some(flag) = letter.filter(|letter| "-_0^#".contains(*letter)) {
            flags.push(flag);
            letter = rest.next();
        }
        let field = letter.and_then(|letter| calendar.field(letter, &flags)).ok_or_else(|| {
            let field = letter.map_or("the end".into(), |letter| format!("{letter:?}"));
            format!("strftime_now({format:?}): {field} is no field of a date")
        })?;
        written += &field;
    }
    Ok(written)
}

impl Calendar {
    /// A field by its letter.
    fn field(&self, letter: char, flags: &[char]) -> Option<String> {
        let number = |value: u64, width: usize| Some(padded(value, width, '0', flags));
        let spaced = |value: u64| Some(padded(value, 2, ' ', flags));
        let several = |format: &str| {
            let fields = format.chars().map(|letter| {
                if letter.is_ascii_alphabetic() { self.field(letter, &[]) } else { Some(letter.to_string()) }
            });
            fields.collect::<Option<String>>()
        };
        let [month, day] = [MONTHS[self.month as usize - 1], DAYS[self.weekday as usize]];
        let (iso_year, iso_week) = self.iso_week();
        let hour = (self.hour + 11) % 12 + 1;
        let text = match letter {
            'a' => day[..3].to_string(),
            'A' => day.to_string(),
            'b' | 'h' => month[..3].to_string(),
            'B' => month.to_string(),
            'p' if flags.contains(&'#') => return Some(if self.hour < 12 { "am" } else { "pm" }.into()),
            'p' => if self.hour < 12 { "AM" } else { "PM" }.to_string(),
            'P' => return Some(if self.hour < 12 { "am" } else { "pm" }.into()),
            // Python's `now` has no time zone.
            'z' | 'Z' => String::new(),
            'n' => "\n".to_string(),
            't' => "\t".to_string(),
            '%' => "%".to_string(),
            'c' => several("a b e H:M:S Y")?,
            'x' | 'D' => several("m/d/y")?,
            'X' | 'T' => several("H:M:S")?,
            'R' => several("H:M")?,
            'r' => several("I:M:S p")?,
            'F' => several("Y-m-d")?,
            'Y' => return number(self.year, 1),
            'G' => return number(iso_year, 1),
            'C' => return number(self.year / 100, 2),
            'y' => return number(self.year % 100, 2),
            'g' => return number(iso_year % 100, 2),
            'm' => return number(self.month, 2),
            'd' => return number(self.day, 2),
            'e' => return spaced(self.day),
            'H' => return number(self.hour, 2),
            'k' => return spaced(self.hour),
            'I' => return number(hour, 2),
            'l' => return spaced(hour),
            'M' => return number(self.minute, 2),
            'S' => return number(self.second, 2),
            'f' if flags.is_empty() => format!("{:06}", self.microsecond),
            'j' => return number(self.in_year + 1, 3),
            'U' => return number((self.in_year + 7 - self.weekday) / 7, 2),
            'W' => return number((self.in_year + 7 - (self.weekday + 6) % 7) / 7, 2),
            'V' => return number(iso_week, 2),
            'u' => return number((self.weekday + 6) % 7 + 1, 1),
            'w' => return number(self.weekday, 1),
            's' => return number(self.since_epoch, 1),
            _ => return None,
        };
        Some(if flags.contains(&'^') || flags.contains(&'#') { text.to_uppercase() } else { text })
    }

    /// The year and week of ISO 8601: weeks begin on Monday, and the first one holds 4 January.
    fn iso_week(&self) -> (u64, u64) {
        let from_monday = (self.weekday + 6) % 7;
        let week = (self.in_year + 10 - from_monday) / 7;
        let weeks = |year: u64| {
            let weekday = |year: u64| (year + year / 4 - year / 100 + year / 400) % 7;
            if weekday(year) == 4 || weekday(year - 1) == 3 { 53 } else { 52 }
        };
        match week {
            0 => (self.year - 1, weeks(self.year - 1)),
            week if week > weeks(self.year) => (self.year + 1, 1),
            week => (self.year, week),
        }
    }
}

/// A number in its width, filled as its flags say.
fn padded(value: u64, width: usize, fill: char, flags: &[char]) -> String {
    let fill = match flags.iter().rev().find(|flag| "-_0".contains(**flag)) {
        Some('-') => return value.to_string(),
        Some('_') => ' ',
        Some('0') => '0',
        _ => fill,
    };
    let digits = value.to_string();
    format!("{}{digits}", fill.to_string().repeat(width.saturating_sub(digits.len())))
}

fn calendar(time: SystemTime) -> Calendar {
    // If the clock is set before 1970, the time is the beginning of 1970.
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let [days, in_day] = [since.as_secs() / 86_400, since.as_secs() % 86_400];
    let (year, month, day, in_year) = date(days);
    Calendar {
        year,
        month,
        day,
        in_year,
        // 1 January 1970 was a Thursday.
        weekday: (days + 4) % 7,
        hour: in_day / 3600,
        minute: in_day / 60 % 60,
        second: in_day % 60,
        microsecond: since.subsec_micros(),
        since_epoch: since.as_secs(),
    }
}

/// Year, month, day, and the days since the beginning of the year, from the days since 1 January 1970, in the Gregorian calendar.
fn date(mut days: u64) -> (u64, u64, u64, u64) {
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
    let in_year = days;
    let lengths = [31, if is_leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    (year, month as u64 + 1, days + 1, in_year)
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
        // Values of Python: weeks of ISO 8601, and weeks from the first Sunday and Monday.
        for (seconds, expected) in [
            (951_782_399, "2000-W09-1 09 09 059"),
            (1_451_865_600, "2016-W01-1 01 01 004"),
            (1_483_228_800, "2016-W52-7 01 00 001"),
            (1_609_459_200, "2020-W53-5 00 00 001"),
            (1_735_603_200, "2025-W01-2 52 53 366"),
            (1_767_225_600, "2026-W01-4 00 00 001"),
            (1_795_780_800, "2026-W48-5 47 47 331"),
            (1_798_761_599, "2026-W53-4 52 52 365"),
        ] {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(format("%G-W%V-%u %U %W %j", time).expect("known fields"), expected);
        }
        assert!(format("%Q", UNIX_EPOCH).expect_err("no such field").contains("'Q'"));
    }
}
