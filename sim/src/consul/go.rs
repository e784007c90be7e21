//! The corners of Go's standard library that show through Consul's answers: durations, number
//! parsing and quoting, with Go's own error texts.

/// Parses a Go duration (`1h2m3.5s`) into nanoseconds, with Go 1.15's error text.
pub(crate) fn parse_duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {}", quote(text));
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (whole, after) = rest.split_at(digits);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(tail) => tail.split_at(tail.bytes().take_while(u8::is_ascii_digit).count()),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let length = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, tail) = after.split_at(length);
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {}", quote(text)));
        }
        let Some(scale) = unit_nanos(unit) else {
            return Err(format!("time: unknown unit {} in duration {}", quote(unit), quote(text)));
        };
        let part = scaled(whole, fraction, scale).ok_or_else(invalid)?;
        total = total.checked_add(part).ok_or_else(invalid)?;
        rest = tail;
    }
    Ok(if negative { -total } else { total })
}

fn unit_nanos(unit: &str) -> Option<i64> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

fn scaled(whole: &str, fraction: &str, scale: i64) -> Option<i64> {
    let value: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut nanos = value.checked_mul(scale)?;
    if !fraction.is_empty() {
        let digits: String = fraction.chars().take(18).collect();
        let numerator: f64 = digits.parse().ok()?;
        let divisor = 10f64.powi(i32::try_from(digits.len()).ok()?);
        nanos = nanos.checked_add((numerator * (scale as f64 / divisor)) as i64)?;
    }
    Some(nanos)
}

/// Prints nanoseconds as Go does: `1m30s`, `1.5s`, `200ms`.
pub(crate) fn format_duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let value = nanos.unsigned_abs();
    let fraction = |value: u64, scale: u64, unit: &str| {
        let (whole, part) = (value / scale, value % scale);
        if part == 0 {
            return format!("{sign}{whole}{unit}");
        }
        let width = scale.ilog10() as usize;
        let digits = format!("{part:0width$}");
        format!("{sign}{whole}.{}{unit}", digits.trim_end_matches('0'))
    };
    match value {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{value}ns"),
        1_000..1_000_000 => fraction(value, 1_000, "µs"),
        1_000_000..1_000_000_000 => fraction(value, 1_000_000, "ms"),
        _ => {
            let seconds = value / 1_000_000_000;
            let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
            let rest = value % 60_000_000_000;
            let tail = fraction(rest, 1_000_000_000, "s");
            let tail = tail.trim_start_matches('-');
            match (hours, minutes) {
                (0, 0) => format!("{sign}{tail}"),
                (0, _) => format!("{sign}{minutes}m{tail}"),
                _ => format!("{sign}{hours}h{minutes}m{tail}"),
            }
        }
    }
}

/// Parses like `strconv.ParseUint(text, 10, 64)`.
pub(crate) fn parse_uint(text: &str) -> Result<u64, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits {
        return Err(format!("strconv.ParseUint: parsing {}: invalid syntax", quote(text)));
    }
    text.parse()
        .map_err(|_| format!("strconv.ParseUint: parsing {}: value out of range", quote(text)))
}

/// Parses like `strconv.ParseBool`.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Quotes like `%q`.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\u{b}' => out.push_str("\\v"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => {
                out.push_str(&format!("\\x{:02x}", c as u32));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Lower-cases like `strings.ToLower`, for the case-insensitive tables.
pub(crate) fn lower(text: &str) -> String {
    text.to_lowercase()
}

/// Tells whether text is an IP address, and of which family, as `net.ParseIP` sees it.
pub(crate) fn parse_ip(text: &str) -> Option<std::net::IpAddr> {
    if !text.contains(':') {
        // Go takes leading zeros.
        let parts: Vec<&str> = text.split('.').collect();
        let octets: Vec<u8> = parts
            .iter()
            .filter(|part| (1..=3).contains(&part.len()))
            .filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
            .filter_map(|part| part.parse().ok())
            .collect();
        let octets: [u8; 4] = octets.try_into().ok().filter(|_| parts.len() == 4)?;
        return Some(octets.into());
    }
    let address: std::net::IpAddr = text.parse().ok()?;
    Some(match address {
        std::net::IpAddr::V6(six) => six.to_ipv4_mapped().map_or(address, std::net::IpAddr::V4),
        std::net::IpAddr::V4(_) => address,
    })
}

/// Encodes bytes as standard base64.
pub(crate) fn base64_encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = (u32::from(chunk[0]) << 16)
            | (u32::from(chunk.get(1).copied().unwrap_or(0)) << 8)
            | u32::from(chunk.get(2).copied().unwrap_or(0));
        for position in 0..4 {
            if position <= chunk.len() {
                let digit = (word >> (18 - 6 * position)) & 63;
                out.push(char::from(DIGITS[digit as usize]));
            } else {
                out.push('=');
            }
        }
    }
    out
}

/// Decodes standard base64; the error is the offset of the first bad byte, as Go counts it.
pub(crate) fn base64_decode(text: &str) -> Result<Vec<u8>, usize> {
    let bytes: Vec<(usize, u8)> =
        text.bytes().enumerate().filter(|(_, byte)| *byte != b'\r' && *byte != b'\n').collect();
    let mut out = Vec::with_capacity(bytes.len() / 4 * 3);
    let mut at = 0;
    while at < bytes.len() {
        let mut word = 0u32;
        let mut count = 0;
        while count < 4 {
            let Some(&(offset, byte)) = bytes.get(at + count) else {
                return Err(text.len() - count);
            };
            if byte == b'=' {
                return padding(&bytes, at, count, word, out, text.len());
            }
            word = (word << 6) | base64_digit(byte).ok_or(offset)?;
            count += 1;
        }
        out.extend_from_slice(&word.to_be_bytes()[1..]);
        at += 4;
    }
    Ok(out)
}

fn padding(
    bytes: &[(usize, u8)],
    at: usize,
    count: usize,
    word: u32,
    mut out: Vec<u8>,
    length: usize,
) -> Result<Vec<u8>, usize> {
    let offset = bytes[at + count].0;
    if count < 2 {
        return Err(offset);
    }
    let mut end = at + count + 1;
    if count == 2 {
        match bytes.get(end) {
            None => return Err(length),
            Some((offset, byte)) if *byte != b'=' => return Err(*offset),
            Some(_) => end += 1,
        }
    }
    if let Some((offset, _)) = bytes.get(end) {
        return Err(*offset);
    }
    let word = word << (6 * (4 - count));
    out.extend_from_slice(&word.to_be_bytes()[1..count]);
    Ok(out)
}

fn base64_digit(byte: u8) -> Option<u32> {
    Some(u32::from(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_printed_as_go_does() {
        assert_eq!(parse_duration("1h2m3.5s"), Ok(3_723_500_000_000));
        assert_eq!(parse_duration("-1.5ms"), Ok(-1_500_000));
        assert_eq!(
            parse_duration("1d").unwrap_err(),
            "time: unknown unit \"d\" in duration \"1d\""
        );
        assert_eq!(parse_duration("5").unwrap_err(), "time: missing unit in duration \"5\"");
        assert_eq!(parse_duration("").unwrap_err(), "time: invalid duration \"\"");
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (2_000_000, "2ms"),
            (1_500_000_000, "1.5s"),
            (90_000_000_000, "1m30s"),
            (86_400_000_000_000, "24h0m0s"),
        ] {
            assert_eq!(format_duration(nanos), text);
        }
    }

    #[test]
    fn base64_goes_both_ways() {
        for text in ["", "a", "ab", "abc", "hello2"] {
            assert_eq!(base64_decode(&base64_encode(text.as_bytes())), Ok(text.into()));
        }
        assert_eq!(base64_decode("!!"), Err(0));
    }
}
