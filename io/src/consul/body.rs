//! Reading an answer, up to a bound.

use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_TYPE, LOCATION};

use super::failure::{Failure, Stage};
use crate::limits::{CONSUL_BODY_BYTES_MAX, CONSUL_ERROR_BYTES_MAX};

/// An answer of whoever listens there.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) index: Option<u64>,
    pub(super) is_html: bool,
    pub(super) location: Option<String>,
    pub(super) body: Vec<u8>,
    /// Whether all of it was read, so that the connection can be used again.
    pub(super) is_whole: bool,
}

/// Reads an answer. Of an error only the beginning is read.
pub(super) async fn read(
    response: Response<Incoming>,
    stage: &mut Stage,
    tls: Option<bool>,
) -> Result<Answer, Failure> {
    let status = response.status();
    let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let index = response.headers().get("x-consul-index").and_then(|value| value.to_str().ok());
    let mut answer = Answer {
        status: status.as_u16(),
        index: index.and_then(|index| index.parse().ok()),
        is_html: text(CONTENT_TYPE).is_some_and(|kind| kind.starts_with("text/html")),
        location: text(LOCATION).map(String::from),
        body: Vec::new(),
        is_whole: true,
    };
    let mut body = response.into_body();
    let bytes_max =
        if status.is_success() { CONSUL_BODY_BYTES_MAX } else { CONSUL_ERROR_BYTES_MAX };
    let announced = body.size_hint().exact();
    if status.is_success() && announced.is_some_and(|bytes| bytes > bytes_max as u64) {
        return Err(Failure::TooLarge { bytes: announced });
    }
    *stage = Stage::Reading(0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failure::of_exchange(&error, *stage, tls))?;
        let Ok(data) = frame.into_data() else { continue };
        let room = bytes_max - answer.body.len();
        if data.len() > room {
            if status.is_success() {
                return Err(Failure::TooLarge { bytes: None });
            }
            answer.body.extend_from_slice(&data[..room]);
            answer.is_whole = false;
            break;
        }
        answer.body.extend_from_slice(&data);
        *stage = Stage::Reading(answer.body.len());
    }
    Ok(answer)
}
