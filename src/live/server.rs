//! The HTTP server: a thread of its own, on the loopback address only, with a limit on everything that a client decides.

use super::control::Control;
use super::guard::{self, Refusal};
use super::hub::{Hub, Queue, Viewer};
use super::{Live, page};
use crate::error::{Error, Result};
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::{Ipv4Addr, TcpListener};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, Semaphore};
use tokio::time::{interval, sleep, timeout};

/// The port that is tried first if none is given.
pub const DEFAULT_PORT: u16 = 7784;
/// How many ports are tried if none is given.
const PORTS: u16 = 32;
/// Most connections at a time. Further ones are closed at once.
const MOST_CONNECTIONS: usize = 256;
/// Largest body of a request, bytes.
const MOST_BODY: usize = 64 << 10;
/// Most bytes of a request's headers, and most headers.
const MOST_HEADER: usize = 16 << 10;
const MOST_HEADERS: usize = 64;
/// How long a request and its answer may take, other than a stream of messages.
const REQUEST: Duration = Duration::from_secs(10);
/// How often a stream without news shows that it is alive, which also finds readers that are gone.
const KNOCK: Duration = Duration::from_secs(15);
/// How long a viewer may leave a message untaken.
const STALLED: Duration = Duration::from_secs(60);

/// How long open pages have to take the last messages.
const FLUSH: Duration = Duration::from_millis(300);
/// How long they have to read them: a browser drops what it has not read when the connection breaks.
const READ: Duration = Duration::from_millis(100);
/// How often it is looked at whether they have taken them.
const LOOK: Duration = Duration::from_millis(5);

/// The server of the page, on the loopback address. Dropping it closes all connections.
pub struct Server {
    port: u16,
    token: String,
    hub: Arc<Hub>,
    stop: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

/// What a request needs.
struct Shared {
    port: u16,
    token: String,
    hub: Arc<Hub>,
    control: Arc<Control>,
}

impl Server {
    /// Serves the page of `live` on this port of 127.0.0.1; without one, on the first free one from [`DEFAULT_PORT`] on.
    ///
    /// # Errors
    /// [`Error::Config`]: the port is taken.
    pub fn start(port: Option<u16>, live: &Live) -> Result<Self> {
        let token = guard::token().map_err(|e| Error::Config(format!("the system has no random numbers: {e}")))?;
        let (hub, control) = (Arc::clone(&live.hub), Arc::clone(&live.control));
        let listener = bind(port)?;
        let failed = |e: std::io::Error| Error::Config(format!("the server of the page cannot start: {e}"));
        let port = listener.local_addr().map_err(failed)?.port();
        listener.set_nonblocking(true).map_err(failed)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let shared = Arc::new(Shared { port, token: token.clone(), hub: Arc::clone(&hub), control });
        let stop = Arc::new(Notify::new());
        let stopped = Arc::clone(&stop);
        let work = move || {
            // Whatever is under way then ends with the runtime.
            runtime.block_on(async {
                tokio::spawn(accept(listener, shared));
                stopped.notified().await;
            });
        };
        let thread = std::thread::Builder::new().name("live".into()).spawn(work).map_err(failed)?;
        Ok(Server { port, token, hub, stop, thread: Some(thread) })
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The page's address, with the token without which the page only watches.
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}/#token={}", self.port, self.token)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let begun = Instant::now();
        while !self.hub.is_flushed() && begun.elapsed() < FLUSH {
            std::thread::sleep(LOOK);
        }
        if self.hub.is_watched() {
            std::thread::sleep(READ);
        }
        self.stop.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic of the server is no reason to fail.
            let _ = thread.join();
        }
    }
}

fn bind(port: Option<u16>) -> Result<TcpListener> {
    let listen = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let taken =
        |port: u16, e| Error::Config(format!("port {port} of 127.0.0.1 cannot be listened on: {e}; give another port"));
    match port {
        Some(port) => listen(port).map_err(|e| taken(port, e)),
        None => {
            let mut ports = (DEFAULT_PORT..).take(usize::from(PORTS));
            let free = ports.find_map(|port| listen(port).ok());
            free.map_or_else(|| listen(DEFAULT_PORT).map_err(|e| taken(DEFAULT_PORT, e)), Ok)
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let hub = Arc::clone(&shared.hub);
    tokio::spawn(async move {
        let mut clock = interval(KNOCK);
        loop {
            clock.tick().await;
            hub.knock();
        }
    });
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, for example.
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else { continue };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            serve(stream, shared).await;
            drop(permit);
        });
    }
}

/// Answers the one request of a connection.
async fn serve(stream: tokio::net::TcpStream, shared: Arc<Shared>) {
    // Set once the connection is a stream of messages.
    let viewer: Arc<OnceLock<Arc<Queue>>> = Arc::default();
    let service = hyper::service::service_fn(|request| {
        let (shared, viewer) = (Arc::clone(&shared), Arc::clone(&viewer));
        async move { Ok::<_, Infallible>(answer(request, &shared, &viewer).await) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(REQUEST).keep_alive(false);
    http.max_buf_size(MOST_HEADER).max_headers(MOST_HEADERS);
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    if timeout(REQUEST, connection.as_mut()).await.is_ok() {
        return;
    }
    while let Some(queue) = viewer.get() {
        // A reader that stopped reading has not taken the last knock.
        if queue.waited() > STALLED || timeout(KNOCK, connection.as_mut()).await.is_ok() {
            return;
        }
    }
}

type Answer = Response<Either<Full<Bytes>, Events>>;

async fn answer(request: Request<Incoming>, shared: &Shared, viewer: &OnceLock<Arc<Queue>>) -> Answer {
    let (head, body) = request.into_parts();
    let answered = match guard::check(&head, shared.port) {
        Ok(()) => route(&head, body, shared, viewer).await,
        Err(refusal) => Err(refusal),
    };
    let mut response = answered.unwrap_or_else(refuse);
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, page::CONTENT_SECURITY_POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn route(
    head: &Parts,
    body: Incoming,
    shared: &Shared,
    viewer: &OnceLock<Arc<Queue>>,
) -> Result<Answer, Refusal> {
    match head.uri.path() {
        "/act" => {
            guard::check_act(head, &shared.token)?;
            let large = (StatusCode::PAYLOAD_TOO_LARGE, "a command has at most 64 KiB");
            if body.size_hint().lower() > MOST_BODY as u64 {
                return Err(large);
            }
            let body = Limited::new(body, MOST_BODY).collect().await.map_err(|_| large)?.to_bytes();
            Ok(outcome(StatusCode::OK, shared.control.accept(&body).err().map(|e| e.to_string())))
        }
        // hyper leaves the body of an answer to HEAD out, which a stream of messages must not begin with.
        path if head.method != Method::GET && (head.method != Method::HEAD || path == "/events") => {
            Err((StatusCode::METHOD_NOT_ALLOWED, "only GET here"))
        }
        "/events" => {
            let joined = shared.hub.join();
            let joined = joined.ok_or((StatusCode::SERVICE_UNAVAILABLE, "too many pages are open; close one"))?;
            let _ = viewer.set(Arc::clone(joined.queue()));
            Ok(with_type("text/event-stream", Either::Right(Events(joined))))
        }
        path => match page::find(path) {
            Some(file) => Ok(with_type(file.kind, Either::Left(Full::from(file.bytes)))),
            None => Err((StatusCode::NOT_FOUND, "there is no such page")),
        },
    }
}

fn with_type(kind: &'static str, body: Either<Full<Bytes>, Events>) -> Answer {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// `{"ok": true}`, or what is wrong.
fn outcome(status: StatusCode, error: Option<String>) -> Answer {
    let json = match error {
        None => serde_json::json!({"ok": true}),
        Some(error) => serde_json::json!({"ok": false, "error": error}),
    };
    let mut response = with_type("application/json", Either::Left(Full::from(json.to_string())));
    *response.status_mut() = status;
    response
}

fn refuse((status, why): Refusal) -> Answer {
    let mut response = outcome(status, Some(why.into()));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST"));
    }
    response
}

/// The messages of a viewer, without end.
struct Events(Viewer);

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll(context).map(|message| {
            // A comment, which browsers ignore, where there is no message.
            let event = if message.is_empty() { ":\n\n".into() } else { format!("data: {message}\n\n") };
            Some(Ok(Frame::data(event.into())))
        })
    }
}
