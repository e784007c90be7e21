//! Statuses, bodies, pages of proxies, things that are not HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use steersman_engine::consul::{ConsulFailure, ConsulReply};
use tokio::io::AsyncWriteExt;

use super::scripted::{
    NO_INSTANCES, PATIENCE, Scripted, garbled, instances, nothing_there, refused, report,
    unreachable,
};

fn answer(head: &str, body: &str) -> String {
    format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn instances_are_read_whatever_the_chunks() {
    let body = r#"[{"Node":{"Node":"n1","Address":"10.0.0.1"},
        "Service":{"ID":"web-1","Service":"web","Port":80,"Tags":["a"],"CreateIndex":5}}]"#;
    for size in [1, 2, 3, 7, 50, 1000] {
        let mut chunks = String::from(
            "HTTP/1.1 200 OK\r\nX-Consul-Index: 12\r\nTransfer-Encoding: chunked\r\n\r\n",
        );
        for chunk in body.as_bytes().chunks(size) {
            let text = std::str::from_utf8(chunk).unwrap();
            chunks.push_str(&format!("{:x}\r\n{text}\r\n", chunk.len()));
        }
        chunks.push_str("0\r\n\r\n");
        let server = Scripted::start(move |mut talk| {
            let chunks = chunks.clone();
            async move {
                talk.request().await;
                // Split at other places than the chunks are.
                for part in chunks.as_bytes().chunks(size + 2) {
                    talk.send(part).await;
                    tokio::task::yield_now().await;
                }
                talk.hang().await;
            }
        })
        .await;
        let reply = server.client().ask(&instances(0), PATIENCE).await;
        let ConsulReply::Instances { index: 12, instances } = reply else { panic!("{reply:?}") };
        assert_eq!((&*instances[0].id, &*instances[0].address), ("web-1", "10.0.0.1"));
    }
}

#[tokio::test]
async fn slow_body_is_waited_for() {
    let server = Scripted::start(|mut talk| async move {
        talk.request().await;
        for byte in NO_INSTANCES.as_bytes().chunks(1) {
            talk.send(byte).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        talk.hang().await;
    })
    .await;
    assert_eq!(server.client().ask(&instances(0), PATIENCE).await, nothing_there());
}

#[tokio::test]
async fn connection_that_ends_in_the_middle_of_a_body_is_no_answer() {
    let server = Scripted::start(|mut talk| async move {
        talk.request().await;
        talk.send("HTTP/1.1 200 OK\r\nX-Consul-Index: 7\r\nContent-Length: 100\r\n\r\n[").await;
        if talk.nth == 2 {
            // A reset instead of an end.
            talk.stream.set_zero_linger().unwrap();
        }
    })
    .await;
    let client = server.client();
    let closed = unreachable(client.ask(&instances(0), PATIENCE).await);
    assert!(closed.ends_with("it closed the connection in the middle"), "{closed}");
    let reset = unreachable(client.ask(&instances(0), PATIENCE).await);
    assert!(reset.ends_with("connection reset"), "{reset}");
    assert_eq!(server.connections(), 2, "an answer that has begun is not asked for again");
}

#[tokio::test]
async fn body_of_a_hundred_megabytes_is_not_taken() {
    const SIZE: usize = 100 * 1024 * 1024;
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let server = Scripted::start(move |mut talk| {
        let sent = Arc::clone(&counter);
        async move {
            talk.request().await;
            let head = if talk.nth == 1 {
                format!("Content-Length: {SIZE}\r\n\r\n")
            } else {
                format!("Transfer-Encoding: chunked\r\n\r\n{SIZE:x}\r\n")
            };
            talk.send(format!("HTTP/1.1 200 OK\r\nX-Consul-Index: 7\r\n{head}")).await;
            let block = vec![b' '; 64 * 1024];
            for _ in 0..SIZE / block.len() {
                if talk.stream.write_all(&block).await.is_err() {
                    return;
                }
                sent.fetch_add(block.len(), Ordering::Relaxed);
            }
        }
    })
    .await;
    let client = server.client();
    let announced = garbled(client.ask(&instances(0), PATIENCE).await);
    assert!(announced.contains("104857600 bytes, and 4194304 are the most"), "{announced}");
    let chunked = garbled(client.ask(&instances(0), PATIENCE).await);
    assert!(chunked.contains("more than 4194304 bytes"), "{chunked}");
    // What is in the buffers of two sockets, and what was read.
    assert!(sent.load(Ordering::Relaxed) < SIZE / 2, "{sent:?}");
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn long_answer_within_the_bound_is_read() {
    let body = format!("[{}]", " ".repeat(3 * 1024 * 1024));
    let server = Scripted::always(answer("200 OK\r\nX-Consul-Index: 7", &body)).await;
    assert_eq!(server.client().ask(&instances(0), PATIENCE).await, nothing_there());
}

#[tokio::test]
async fn page_of_a_proxy_is_named_as_such() {
    let page = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n</html>";
    let server = Scripted::always(answer("502 Bad Gateway\r\nContent-Type: text/html", page)).await;
    let (status, words) = refused(server.client().ask(&report(), PATIENCE).await);
    assert_eq!(status, 502);
    assert!(words.starts_with("a page of HTML: is there a proxy in between?"), "{words}");
    assert!(!words.contains('\n'), "{words}");

    let server = Scripted::always(answer("200 OK\r\nContent-Type: text/html", page)).await;
    for request in [report(), instances(0)] {
        let words = garbled(server.client().ask(&request, PATIENCE).await);
        assert!(words.contains("is there a proxy in between?"), "{words}");
    }
}

#[tokio::test]
async fn redirection_is_not_followed_but_named() {
    let server = Scripted::always(answer(
        "301 Moved Permanently\r\nLocation: https://login.example/?to=v1",
        "<a href=\"/ui/\">Moved Permanently</a>.",
    ))
    .await;
    let (status, words) = refused(server.client().ask(&instances(0), PATIENCE).await);
    assert_eq!(status, 301);
    assert_eq!(words, "a redirection to https://login.example/?to=v1: is this Consul's address?");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn errors_of_consul_keep_its_words() {
    let cases = [
        ("500 Internal Server Error", "No cluster leader", 500),
        ("429 Too Many Requests", "", 429),
        ("400 Bad Request", "Invalid query parameter: \"ns\" - Namespaces are an Enterprise", 400),
    ];
    for (head, body, wanted) in cases {
        let server = Scripted::always(answer(head, body)).await;
        let (status, words) = refused(server.client().ask(&instances(0), PATIENCE).await);
        assert_eq!(status, wanted);
        assert!(words.contains(body), "{words}");
    }
}

#[tokio::test]
async fn forgotten_check_is_unknown() {
    let words = "CheckID \"service:web-1\" does not have associated TTL";
    let server = Scripted::always(answer("500 Internal Server Error", words)).await;
    let reply = server.client().ask(&report(), PATIENCE).await;
    assert_eq!(reply, ConsulReply::Failed(ConsulFailure::Unknown));
}

#[tokio::test]
async fn long_error_is_cut_and_its_connection_given_up() {
    let body = "x".repeat(1024 * 1024);
    let server = Scripted::always(answer("500 Internal Server Error", &body)).await;
    let client = server.client();
    for connections in [1, 2] {
        let (_, words) = refused(client.ask(&report(), PATIENCE).await);
        assert!(words.len() < 1000, "{} bytes", words.len());
        assert_eq!(server.connections(), connections);
    }
}

#[tokio::test]
async fn what_is_not_http_is_said_to_be() {
    for banner in ["SSH-2.0-OpenSSH_9.2p1\r\n", "220 mail.example ESMTP\r\n", "\u{0}\u{1}\u{2}\r\n"]
    {
        let server = Scripted::start(move |mut talk| async move {
            talk.send(banner).await;
            talk.hang().await;
        })
        .await;
        let words = garbled(server.client().ask(&instances(0), PATIENCE).await);
        assert!(words.contains("it does not speak HTTP"), "{words}");
    }
}

#[tokio::test]
async fn head_without_end_is_given_up() {
    let server = Scripted::start(|mut talk| async move {
        talk.request().await;
        talk.send("HTTP/1.1 200 OK\r\n").await;
        let line = format!("X-Padding: {}\r\n", "x".repeat(8000));
        while talk.stream.write_all(line.as_bytes()).await.is_ok() {}
    })
    .await;
    let words = garbled(server.client().ask(&instances(0), PATIENCE).await);
    assert!(words.contains("cannot understand"), "{words}");
}

#[tokio::test]
async fn answer_without_an_index_makes_no_sense() {
    let server = Scripted::always(answer("200 OK", "[]")).await;
    garbled(server.client().ask(&instances(0), PATIENCE).await);
    let server = Scripted::always(answer("200 OK\r\nX-Consul-Index: -4", "[]")).await;
    garbled(server.client().ask(&instances(0), PATIENCE).await);
}
