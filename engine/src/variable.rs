//! Names of environment variables.

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
    }
}
