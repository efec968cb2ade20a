//! `corten image`: the node's image store, worked on directly. The store is safe for several processes.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use corten_image::{PullOptions, Store};

use crate::cli::{ImageCommand, ImageOptions, Output};
use crate::layout::Layout;

pub(crate) fn run(options: &ImageOptions) -> Result<()> {
    let layout = Layout::create(&options.data.data_dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build()?;
    runtime.block_on(async {
        let store =
            Store::open(store_options(&layout)).await.with_context(|| format!("cannot open image store {}", layout.images().display()))?;
        match &options.command {
            ImageCommand::Load { file } => load(&store, file).await,
            ImageCommand::List { output } => list(&store, *output).await,
            ImageCommand::Pull { reference } => {
                let image = store.pull(reference, PullOptions::default()).await.map_err(anyhow::Error::new)?;
                println!("{}", image.id);
                Ok(())
            }
        }
    })
}

/// How every command and the node open the store of a layout.
pub(crate) fn store_options(layout: &Layout) -> corten_image::Options {
    corten_image::Options { dir: layout.images(), registries: Some(layout.registries()), ca_bundle: None }
}

async fn load(store: &Store, file: &Path) -> Result<()> {
    let archive: Box<dyn Read + Send> = if file == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(File::open(file).with_context(|| format!("cannot open {}", file.display()))?)
    };
    for name in store.load_archive(archive).await.with_context(|| format!("cannot load {}", file.display()))? {
        println!("loaded {name}");
    }
    Ok(())
}

async fn list(store: &Store, output: Output) -> Result<()> {
    let images = store.list().await?;
    if output == Output::Json {
        let rows: Vec<_> = images
            .iter()
            .map(|image| serde_json::json!({"id": image.id, "repoTags": image.repo_tags, "repoDigests": image.repo_digests, "size": image.size}))
            .collect();
        println!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    println!("{:<60} {:<20} {:>10}", "IMAGE", "ID", "SIZE");
    for image in images {
        let id: String = image.id.to_string().trim_start_matches("sha256:").chars().take(12).collect();
        let name = image.repo_tags.first().or(image.repo_digests.first()).map_or("<none>".to_owned(), ToString::to_string);
        println!("{name:<60} {id:<20} {:>7} kB", image.size / 1000);
    }
    Ok(())
}
