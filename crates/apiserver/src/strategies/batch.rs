//! Jobs and cron jobs.

mod cron_jobs;
mod indexes;
mod jobs;
mod policies;
mod specification;
mod status;

pub(super) use cron_jobs::CronJobs;
pub(super) use jobs::Jobs;

use super::validation::Path;

const SPEC: Path<'static> = Path::Root("spec");
