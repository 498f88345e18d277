//! A server whose every byte a test decides.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// A whole response. Who hangs up after it says so: what follows could otherwise be sent on the old connection.
pub const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";

/// The head of a response that comes in chunks.
pub const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";

/// The beginning of a response that says it is long.
pub const BEGINNING: &str = "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nxx";

/// How long the other side may take: where the host is broken, the test is to fail and not to hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that takes one connection at a time and hands it out after its request's head was read.
pub struct Server {
    listener: TcpListener,
}

impl Server {
    /// One on a free port.
    pub async fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// The sidecar of a plugin that may send requests to it, and to nobody else. More of `[http]` may follow.
    pub fn allowed(&self) -> String {
        allowing(self.address())
    }

    /// The next connection, and the head of its request.
    pub async fn accept(&self) -> (TcpStream, String) {
        let coming = async {
            let (mut connection, _) = self.listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(connection.read_u8().await.unwrap());
            }
            (connection, String::from_utf8(head).unwrap())
        };
        timeout(PATIENCE, coming).await.expect("the request that the test waits for never comes")
    }

    /// Answers the next request; its head.
    pub async fn answer(&self, response: &str) -> String {
        let (mut connection, head) = self.accept().await;
        connection.write_all(response.as_bytes()).await.unwrap();
        head
    }

    /// Begins to answer the next request; the connection, to go on with.
    pub async fn begin(&self, response: &str) -> TcpStream {
        let (mut connection, _) = self.accept().await;
        connection.write_all(response.as_bytes()).await.unwrap();
        connection
    }
}

/// The sidecar of a plugin that may send requests to this address, and to no other. More of `[http]` may follow.
pub fn allowing(address: SocketAddr) -> String {
    format!("[http]\nallow = [\"http://{address}\"]\n")
}

/// Ready when the other side has hung up; what it sent until then.
pub async fn hung_up(mut connection: TcpStream) -> String {
    let (mut sent, mut read) = (Vec::new(), [0; 1024]);
    let until = async {
        // An error is a connection that was cut, which is one way to hang up.
        while let Ok(count @ 1..) = connection.read(&mut read).await {
            sent.extend_from_slice(&read[..count]);
        }
    };
    timeout(PATIENCE, until).await.expect("the other side does not hang up");
    String::from_utf8(sent).unwrap()
}

/// What a chunked body says, which must be whole.
pub async fn chunked(connection: &mut TcpStream) -> String {
    let (mut body, mut read) = (Vec::new(), vec![0; 16 * 1024]);
    let whole = async {
        while !body.ends_with(b"0\r\n\r\n") {
            let count = connection.read(&mut read).await.unwrap();
            assert_ne!(count, 0, "the body broke off: {}", String::from_utf8_lossy(&body));
            body.extend_from_slice(&read[..count]);
        }
    };
    timeout(PATIENCE, whole).await.expect("the body does not end");
    let body = String::from_utf8(body).unwrap();
    body.lines().skip(1).step_by(2).collect()
}
