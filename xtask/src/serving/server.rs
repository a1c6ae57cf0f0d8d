//! The server: it accepts connections until it is told to stop, and lets those that there are come to their end.

use std::{
    fmt,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    runtime::Builder,
    sync::Semaphore,
    time::{sleep, timeout},
};

use super::{app::App, engine::Engine, routes::router, settings::ServerSettings};
use crate::{Error, Result};

/// The longest time until a request to stop is noticed.
const PAUSE: Duration = Duration::from_millis(20);

/// The pause after a connection could not be accepted, for want of file descriptors for example.
const RETRY: Duration = Duration::from_millis(100);

/// An HTTP server that answers as OpenAI's API does: `/v1/completions`, `/v1/chat/completions` and `/v1/models`; and `/health` and
/// `/metrics` (Prometheus). It draws from an [`Engine`].
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    settings: ServerSettings,
}

impl Server {
    /// A server that listens at an address; port 0: any free one.
    ///
    /// # Errors
    /// [`Error::Serve`] if the address is not of this machine, or in use.
    pub fn bind(host: &str, port: u16, settings: ServerSettings) -> Result<Self> {
        let failed = |cause| Error::Serve { address: format!("{host}:{port}"), cause };
        let listener = TcpListener::bind((host, port)).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, settings })
    }

    /// The address at which it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves completions of `engine` until `stop` is set: then no connection is accepted any more, and requests have the time that the settings give them.
    ///
    /// # Errors
    /// [`Error::Serve`] if the system refuses a thread or the socket.
    pub fn run(self, engine: Arc<dyn Engine>, stop: &AtomicBool) -> Result<()> {
        let failed = |cause| Error::Serve { address: self.address.to_string(), cause };
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(failed)?;
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(self.listener).map_err(failed)?;
            serve(listener, App::new(engine, self.settings).into(), stop).await;
            Ok(())
        })
    }
}

async fn serve(listener: tokio::net::TcpListener, app: Arc<App>, stop: &AtomicBool) {
    let service = TowerToHyperService::new(router(&app));
    let mut http = http1::Builder::new();
    // A client that is slow with its headers gives its connection to another.
    http.timer(TokioTimer::new()).header_read_timeout(app.settings.reading_time);
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(app.settings.max_connections));
    let accept = async {
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let connection = http.serve_connection(TokioIo::new(stream), service.clone());
                    let connection = graceful.watch(connection);
                    tokio::spawn(async move {
                        // The client's trouble, not ours.
                        let _ = connection.await;
                        drop(place);
                    });
                }
                Err(_) => sleep(RETRY).await,
            }
        }
    };
    let stopped = async {
        while !stop.load(Ordering::Relaxed) {
            sleep(PAUSE).await;
        }
    };
    tokio::select! {
        () = accept => {}
        () = stopped => {}
    }
    drop(listener);
    app.engine.close();
    // What has not ended by then is cancelled with the runtime.
    let _ = timeout(app.settings.grace, graceful.shutdown()).await;
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}
