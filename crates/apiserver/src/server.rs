//! The state that all requests share.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio_util::sync::CancellationToken;

use crate::{
    Options, StartError,
    admission::{self, Plugin},
    authn::Authenticator,
    authz::Authorizer,
    discovery::Documents,
    engine::{Kinds, components::Components},
    http::InFlight,
    ledger::{Ledger, Limits},
    metrics::Metrics,
};

/// One API server: what the parts of this crate give each other.
pub struct Server {
    /// Its settings.
    pub options: Options,
    /// State, history, watches.
    pub ledger: Ledger,
    /// Who is it?
    pub authenticator: Authenticator,
    /// May they?
    pub authorizer: Authorizer,
    /// Cancelled when watches are to end, before the server does.
    pub ending: CancellationToken,
    /// All served kinds.
    pub(crate) kinds: Arc<Kinds>,
    pub(crate) admission: Vec<Box<dyn Plugin>>,
    pub(crate) in_flight: InFlight,
    pub(crate) metrics: Metrics,
    pub(crate) documents: Documents,
    pub(crate) components: Components,
    ready: AtomicBool,
    /// Plain writes record their owners.
    pub(crate) records_owners: AtomicBool,
}

impl Server {
    /// Loads the ledger and puts the parts together.
    ///
    /// # Errors
    ///
    /// When the ledger cannot be loaded.
    pub(crate) async fn open(options: Options) -> Result<Arc<Self>, StartError> {
        let kinds = Arc::new(Kinds::new(corten_schema::table()));
        let indexer = {
            let kinds = Arc::clone(&kinds);
            Arc::new(move |key: &str, stored: &[u8]| kinds.index_stored(key, stored))
        };
        let ledger = Ledger::open(Arc::clone(&options.store), indexer, Limits::default()).await.map_err(StartError::ledger)?;
        Ok(Arc::new(Self {
            authenticator: Authenticator::new(&options, &ledger),
            authorizer: Authorizer::start(&ledger),
            admission: admission::plugins::chain(),
            in_flight: InFlight::default(),
            metrics: Metrics::default(),
            documents: Documents::new(&options),
            ending: CancellationToken::new(),
            components: Components::default(),
            ready: AtomicBool::new(false),
            records_owners: AtomicBool::new(true),
            kinds,
            ledger,
            options,
        }))
    }

    /// Everything is there: `/readyz` is ok from now on.
    pub(crate) fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// Whether the server is fit to be asked.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }
}
