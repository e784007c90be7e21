//! Says what an unexpected answer probably means.

use hyper::header::HeaderValue;

/// Puts a reason for people around the words of an answer. The token is never among them, even when
/// whoever answered repeats it.
pub(super) fn explained(
    status: u16,
    words: &str,
    is_html: bool,
    location: Option<&str>,
    token: Option<&HeaderValue>,
) -> Box<str> {
    let words = without_token(words, token);
    // One line of a log, whatever the page looks like.
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    let is_html = is_html || words.starts_with('<') || words.contains("<html");
    if let (300..400, Some(location)) = (status, location) {
        let location = without_token(location, token);
        return format!("a redirection to {location}: is this Consul's address?").into();
    }
    let reason = match status {
        _ if words.starts_with("Client sent an HTTP request to an HTTPS server") => {
            "the scheme has to be https"
        }
        401 | 403 if is_html => "a page of HTML: is there a proxy in between?",
        401 | 403 if token.is_none() => "no token was sent",
        401 | 403 => "the token that was sent is unknown, or may not do this",
        429 => "too many connections from this address",
        _ if is_html => "a page of HTML: is there a proxy in between?",
        _ => return words.into(),
    };
    if words.is_empty() { reason.into() } else { format!("{reason}: {words}").into() }
}

fn without_token(words: &str, token: Option<&HeaderValue>) -> String {
    match token.and_then(|token| token.to_str().ok()).filter(|token| !token.is_empty()) {
        Some(token) => words.replace(token, "<redacted>"),
        None => String::from(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_say_what_to_look_at() {
        let said = |status, words| explained(status, words, false, None, None).into_string();
        assert_eq!(said(403, "Permission denied"), "no token was sent: Permission denied");
        assert_eq!(said(500, "No cluster leader"), "No cluster leader");
        assert!(said(502, "<html>\n<body>Bad").starts_with("a page of HTML: is there a proxy"));
        let to_https = "Client sent an HTTP request to an HTTPS server.\n";
        assert!(said(400, to_https).starts_with("the scheme has to be https: Client sent"));
        let moved = explained(301, "<a href", true, Some("http://c/ui/"), None);
        assert_eq!(&*moved, "a redirection to http://c/ui/: is this Consul's address?");
    }

    #[test]
    fn echoed_token_is_taken_out() {
        let token = HeaderValue::from_static("hush-hush");
        let said = explained(403, "ACL not found: hush-hush", false, None, Some(&token));
        assert!(said.starts_with("the token that was sent is unknown"));
        assert!(said.ends_with("ACL not found: <redacted>"), "{said}");
    }
}
