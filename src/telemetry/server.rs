//! A small HTTP server for operators: `/metrics`, `/healthz`, `/readyz`.
//!
//! It answers GET only, closes each connection after one answer, and bounds the number of
//! connections and the time that one may take, so that nothing outside can hold a lane up.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tracing::{debug, warn};

use super::exposition;
use super::metrics::Metrics;
use crate::error::{ErrorKind, Result, ResultExt};

/// Connections served at once; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 16;
/// How long one connection may take, from accept to close.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(10);
/// Pause after a failed accept, which otherwise would spin (no file descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// A server that listens.
pub struct Server {
    listener: TcpListener,
    metrics: Metrics,
}

impl Server {
    /// Listen on `address`; port 0 takes any free one.
    ///
    /// # Errors
    /// `Config` where the address cannot be had.
    pub async fn listen(address: SocketAddr, metrics: Metrics) -> Result<Self> {
        let listener = TcpListener::bind(address)
            .await
            .or_error(ErrorKind::Config, || format!("cannot listen on {address} for metrics"))?;
        Ok(Self { listener, metrics })
    }

    /// The address that it listens on.
    ///
    /// # Errors
    /// `Fatal` where the system does not say.
    pub fn address(&self) -> Result<SocketAddr> {
        self.listener.local_addr().or_error(ErrorKind::Fatal, || "no local address".to_owned())
    }

    /// Answer until the future is dropped.
    pub async fn serve(self) -> Infallible {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let place = places.clone().acquire_owned().await;
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let metrics = self.metrics.clone();
                    tokio::spawn(async move {
                        converse(stream, metrics).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    warn!(%error, "the metrics server cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn converse(stream: TcpStream, metrics: Metrics) {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = answer(request.method(), request.uri().path(), &metrics);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection =
        http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(CONNECTION_TIME_MAX, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "a metrics connection broke"),
        Err(_) => debug!("a metrics connection took too long"),
    }
}

fn answer(method: &Method, path: &str, metrics: &Metrics) -> Response<Full<Bytes>> {
    if method != Method::GET && method != Method::HEAD {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match path {
        "/metrics" => match metrics.render() {
            Ok(page) => body(StatusCode::OK, exposition::CONTENT_TYPE, page),
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "cannot write the metrics\n"),
        },
        "/healthz" => text(StatusCode::OK, "alive\n"),
        "/readyz" => match metrics.unready() {
            None => text(StatusCode::OK, "ready\n"),
            Some(why) => text(StatusCode::SERVICE_UNAVAILABLE, &format!("not ready: {why}\n")),
        },
        _ => text(StatusCode::NOT_FOUND, "try /metrics, /healthz or /readyz\n"),
    }
}

fn text(status: StatusCode, content: &str) -> Response<Full<Bytes>> {
    body(status, "text/plain; charset=utf-8", content.to_owned())
}

fn body(status: StatusCode, kind: &'static str, content: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(content)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn get(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn answers_what_operators_ask() {
        let metrics = Metrics::new();
        let server = Server::listen(([127, 0, 0, 1], 0).into(), metrics.clone()).await.unwrap();
        let address = server.address().unwrap();
        let serving = tokio::spawn(server.serve());
        let ask = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");

        assert!(get(address, &ask("/healthz")).await.starts_with("HTTP/1.1 200"));
        assert!(get(address, &ask("/readyz")).await.starts_with("HTTP/1.1 503"));
        let lane = metrics.lane("a");
        lane.fenced();
        lane.events(3);
        assert!(get(address, &ask("/readyz")).await.starts_with("HTTP/1.1 200"));
        let page = get(address, &ask("/metrics")).await;
        assert!(page.contains("acequia_events_total 3\n"), "{page}");
        assert!(get(address, &ask("/secrets")).await.starts_with("HTTP/1.1 404"));
        let post = "POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
        assert!(get(address, post).await.starts_with("HTTP/1.1 405"));
        serving.abort();
    }
}
