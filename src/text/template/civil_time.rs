//! Date and time of day for `strftime_now`.

use minijinja::Error;

use super::render_error::refused_value;

/// A date and time of day, for templates that write the current date. The caller supplies it,
/// because the browser and the command line obtain it differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CivilTime {
    year: i64,
    month: u32,
    day: u32,
    /// Seconds since midnight.
    seconds: u32,
    /// Days since 1970-01-01.
    days: i64,
}

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
const WEEKDAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const DAY_SECONDS: i64 = 86_400;

impl CivilTime {
    /// The time `seconds` after 1970-01-01 00:00 in the time zone of the caller, who adds the UTC
    /// offset for local time. Clamped to the years 1 to 9999.
    pub fn from_unix(seconds: i64) -> Self {
        let seconds = seconds.clamp(-62_135_596_800, 253_402_300_799);
        let days = seconds.div_euclid(DAY_SECONDS);
        // Days from 1 March of year 0, so that leap days come last; 400 years have 146,097 days.
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let seconds = seconds.rem_euclid(DAY_SECONDS) as u32;
        Self { year, month: month as u32, day: day as u32, seconds, days }
    }

    /// Formats the time like `strftime` in the C locale. Directives: `%Y %y %m %d %e %B %b %h %A %a
    /// %j %H %I %M %S %p %F %T %D %%`, and `-` for no padding; an error for others.
    pub(super) fn format(&self, format: &str) -> Result<String, Error> {
        let mut out = String::new();
        let mut characters = format.chars();
        while let Some(character) = characters.next() {
            if character != '%' {
                out.push(character);
                continue;
            }
            let unpadded = characters.as_str().starts_with('-');
            let directive = if unpadded { characters.nth(1) } else { characters.next() };
            let part = directive.and_then(|directive| self.part(directive)).ok_or_else(|| {
                let shown = directive.map_or(String::new(), String::from);
                refused_value(format!("%{shown} in strftime_now"), "a directive of the C locale")
            })?;
            let trimmed = part.trim_start_matches(['0', ' ']);
            out.push_str(match (unpadded, trimmed) {
                (true, "") => "0",
                (true, trimmed) => trimmed,
                (false, _) => &part,
            });
        }
        Ok(out)
    }

    fn part(&self, directive: char) -> Option<String> {
        let (hour, minute, second) =
            (self.seconds / 3600, self.seconds / 60 % 60, self.seconds % 60);
        let month = MONTHS.get(self.month as usize - 1)?;
        // 1970-01-01 was a Thursday.
        let weekday = WEEKDAYS.get((self.days + 3).rem_euclid(7) as usize)?;
        let new_year = Self::days_before(self.year);
        Some(match directive {
            'Y' => self.year.to_string(),
            'y' => format!("{:02}", self.year.rem_euclid(100)),
            'm' => format!("{:02}", self.month),
            'd' => format!("{:02}", self.day),
            'e' => format!("{:2}", self.day),
            'B' => (*month).to_owned(),
            'b' | 'h' => month.chars().take(3).collect(),
            'A' => (*weekday).to_owned(),
            'a' => weekday.chars().take(3).collect(),
            'j' => format!("{:03}", self.days - new_year + 1),
            'H' => format!("{hour:02}"),
            'I' => format!("{:02}", (hour + 11) % 12 + 1),
            'M' => format!("{minute:02}"),
            'S' => format!("{second:02}"),
            'p' => if hour < 12 { "AM" } else { "PM" }.to_owned(),
            'F' => format!("{}-{:02}-{:02}", self.year, self.month, self.day),
            'T' => format!("{hour:02}:{minute:02}:{second:02}"),
            'D' => format!("{:02}/{:02}/{:02}", self.month, self.day, self.year.rem_euclid(100)),
            '%' => "%".to_owned(),
            _ => return None,
        })
    }

    /// Days from 1970-01-01 to the first day of `year`.
    fn days_before(year: i64) -> i64 {
        let before = year - 1;
        365 * before + before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400)
            - 719_162
    }
}
