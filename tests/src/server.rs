//! A server whose every byte a test decides.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// How long a request may take to come: where the host is broken, the test is to fail and not to hang.
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
}
