//! Users and groups, from `/etc/passwd` and `/etc/group`: no name service, nothing that can hang.

use std::fmt;
use std::path::Path;

/// As whom a process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Credentials {
    /// User; unchanged when absent.
    pub(super) uid: Option<u32>,
    /// Group.
    pub(super) gid: u32,
    /// Supplementary groups.
    pub(super) groups: Vec<u32>,
}

/// Why a user or group cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum UserError {
    /// No such user.
    UnknownUser(Box<str>),
    /// No such group.
    UnknownGroup(Box<str>),
    /// A user by number that the user file does not know, and no group beside it.
    GroupMissing(u32),
}

impl fmt::Display for UserError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UserError::UnknownUser(name) => write!(f, "no user \"{name}\" in /etc/passwd"),
            UserError::UnknownGroup(name) => write!(f, "no group \"{name}\" in /etc/group"),
            UserError::GroupMissing(uid) => write!(
                f,
                "user {uid} is not in /etc/passwd, so its group is unknown: set \"group\" as well"
            ),
        }
    }
}

struct User<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
}

/// Finds as whom to run, from the system's files.
pub(super) fn credentials(
    user: Option<&str>,
    group: Option<&str>,
) -> Result<Option<Credentials>, UserError> {
    if user.is_none() && group.is_none() {
        return Ok(None);
    }
    let read = |path: &str| {
        std::fs::read(Path::new(path))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    };
    choose(user, group, &read("/etc/passwd"), &read("/etc/group")).map(Some)
}

fn choose(
    user: Option<&str>,
    group: Option<&str>,
    passwd: &str,
    groups: &str,
) -> Result<Credentials, UserError> {
    let wanted_gid = match group {
        None => None,
        Some(group) => Some(
            group_id(group, groups)
                .or_else(|| group.parse().ok())
                .ok_or_else(|| UserError::UnknownGroup(Box::from(group)))?,
        ),
    };
    let Some(user) = user else {
        // `group` alone: the caller made sure that one of both is there.
        let gid = wanted_gid.unwrap_or_default();
        return Ok(Credentials { uid: None, gid, groups: vec![gid] });
    };
    if let Some(found) = find_user(user, passwd) {
        let gid = wanted_gid.unwrap_or(found.gid);
        let mut all = vec![gid];
        all.extend(memberships(found.name, groups).filter(|other| *other != gid));
        return Ok(Credentials { uid: Some(found.uid), gid, groups: all });
    }
    let uid: u32 = user.parse().map_err(|_| UserError::UnknownUser(Box::from(user)))?;
    let gid = wanted_gid.ok_or(UserError::GroupMissing(uid))?;
    Ok(Credentials { uid: Some(uid), gid, groups: vec![gid] })
}

/// A name goes before a number, as in chown(1): a user may be named "1000".
fn find_user<'a>(user: &str, passwd: &'a str) -> Option<User<'a>> {
    let parse = |line: &'a str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(User { name, uid, gid })
    };
    let users = || passwd.lines().filter_map(parse);
    users().find(|found| found.name == user).or_else(|| {
        let uid: u32 = user.parse().ok()?;
        users().find(|found| found.uid == uid)
    })
}

fn group_id(group: &str, groups: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == group).then(|| fields.nth(1)?.parse().ok())?
    })
}

fn memberships<'a>(user: &'a str, groups: &'a str) -> impl Iterator<Item = u32> + 'a {
    groups.lines().filter_map(move |line| {
        let mut fields = line.split(':').skip(2);
        let gid = fields.next()?.parse().ok()?;
        fields.next()?.split(',').any(|member| member == user).then_some(gid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nwww:x:33:34::/var:/bin/sh\nbroken\n";
    const GROUPS: &str = "root:x:0:\nwww:x:34:\nlogs:x:4:syslog,www\nweb:x:80:www\nempty:x:9:\n";

    #[test]
    fn user_alone_takes_its_primary_and_supplementary_groups() {
        let expected = Credentials { uid: Some(33), gid: 34, groups: vec![34, 4, 80] };
        assert_eq!(choose(Some("www"), None, PASSWD, GROUPS), Ok(expected.clone()));
        assert_eq!(choose(Some("33"), None, PASSWD, GROUPS), Ok(expected));
    }

    #[test]
    fn group_replaces_the_primary_group() {
        let found = choose(Some("www"), Some("web"), PASSWD, GROUPS);
        assert_eq!(found, Ok(Credentials { uid: Some(33), gid: 80, groups: vec![80, 4] }));
        let found = choose(None, Some("77"), PASSWD, GROUPS);
        assert_eq!(found, Ok(Credentials { uid: None, gid: 77, groups: vec![77] }));
    }

    #[test]
    fn number_without_an_entry_needs_a_group() {
        let refused = choose(Some("1234"), None, PASSWD, GROUPS);
        assert_eq!(refused, Err(UserError::GroupMissing(1234)));
        let found = choose(Some("1234"), Some("1"), PASSWD, GROUPS);
        assert_eq!(found, Ok(Credentials { uid: Some(1234), gid: 1, groups: vec![1] }));
    }

    #[test]
    fn unknown_names_are_refused() {
        let refused = choose(Some("nobodyhere"), None, PASSWD, GROUPS);
        assert_eq!(refused, Err(UserError::UnknownUser("nobodyhere".into())));
        let refused = choose(None, Some("nogrouphere"), PASSWD, GROUPS);
        assert_eq!(refused, Err(UserError::UnknownGroup("nogrouphere".into())));
    }
}
