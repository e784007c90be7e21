//! Names of environment variables that processes get.

use alloc::string::String;

use crate::config::Name;

/// Builds `PREFIX_JOB_SUFFIX` in v3's way: upper case, every run of other characters one `_`.
pub(crate) fn of_job(prefix: &str, job: &str, suffix: &str) -> Name {
    let mut name = String::with_capacity(prefix.len() + job.len() + suffix.len() + 2);
    name.push_str(prefix);
    name.push('_');
    let mut is_gap = false;
    for char in job.chars() {
        if char.is_ascii_alphanumeric() {
            name.push(char.to_ascii_uppercase());
        } else if !is_gap {
            name.push('_');
        }
        is_gap = !char.is_ascii_alphanumeric();
    }
    name.push('_');
    name.push_str(suffix);
    name.into()
}

/// Builds the name of the variable that holds what a watch has read.
pub(crate) fn watch(name: &str) -> Name {
    let name = of_job("CONTAINERPILOT_WATCH", name, "");
    name.trim_end_matches('_').into()
}

/// Builds the name of the variable that names the file of what a watch has read.
pub fn watch_file(name: &str) -> Name {
    of_job("CONTAINERPILOT_WATCH", name, "FILE")
}

/// Tells whether a text may name a variable (POSIX: no `=`, no NUL; and not empty).
pub(crate) fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(['=', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_names_become_upper_case_with_single_underscores() {
        assert_eq!(&*of_job("CONTAINERPILOT", "my--app.2", "PID"), "CONTAINERPILOT_MY_APP_2_PID");
        assert_eq!(&*watch_file("my--db.1"), "CONTAINERPILOT_WATCH_MY_DB_1_FILE");
    }
}
