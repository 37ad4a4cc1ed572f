//! Listens on a free port of the loopback interface, for the proxies of tests.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// Takes connections until it is dropped.
pub(super) struct Listener {
    pub(super) address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Listener {
    /// Let `converse` have each connection that comes.
    pub(super) fn start<Talk>(
        mut converse: impl FnMut(TcpStream) -> Talk + Send + 'static,
    ) -> io::Result<Self>
    where
        Talk: Future<Output = io::Result<()>> + Send + 'static,
    {
        let runtime = Runtime::new()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // A side that goes away is no failure of the proxy.
                tokio::spawn(converse(client));
            }
        });
        Ok(Self { address, runtime: Some(runtime) })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
