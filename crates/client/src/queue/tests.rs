use std::time::{Duration, Instant};

use super::{WorkQueue, backoff};

#[tokio::test]
async fn a_queued_key_is_queued_once() {
    let queue = WorkQueue::new("tests");
    queue.add("a");
    queue.add("a");
    queue.add("b");
    assert_eq!(queue.len(), 2);
    assert_eq!(*queue.next().await.unwrap(), "a");
    assert_eq!(*queue.next().await.unwrap(), "b");
    assert!(queue.is_empty());
}

#[tokio::test]
async fn a_key_added_in_work_comes_again_afterwards() {
    let queue = WorkQueue::new("tests");
    queue.add("a");
    let work = queue.next().await.unwrap();
    queue.add("a");
    queue.add("a");
    assert!(queue.is_empty(), "not while it is in work");
    drop(work);
    assert_eq!(queue.len(), 1);
    assert_eq!(*queue.next().await.unwrap(), "a");
    assert!(queue.is_empty());
}

#[tokio::test]
async fn of_several_delays_the_shortest_counts() {
    let queue = WorkQueue::new("tests");
    let start = Instant::now();
    queue.add_after("a", Duration::from_secs(3600));
    queue.add_after("a", Duration::from_millis(20));
    queue.add_after("a", Duration::from_secs(1800));
    assert_eq!(*queue.next().await.unwrap(), "a");
    assert!(start.elapsed() >= Duration::from_millis(20));
    assert!(start.elapsed() < Duration::from_secs(1800));
    assert!(queue.shared.state.lock().due.is_empty());
}

#[tokio::test]
async fn failures_back_off_until_forgotten() {
    let queue = WorkQueue::new("tests");
    for expected in [5, 10, 20] {
        let start = Instant::now();
        queue.add_rate_limited("a");
        drop(queue.next().await);
        assert!(start.elapsed() >= Duration::from_millis(expected));
    }
    assert_eq!(queue.failures(&"a"), 3);
    queue.forget(&"a");
    assert_eq!(queue.failures(&"a"), 0);
    let delays: Vec<_> = [0, 1, 2, 17, 18, 200].map(|n| backoff(n).as_millis()).into();
    assert_eq!(delays, [5, 10, 20, 655_360, 1_000_000, 1_000_000]);
}

#[tokio::test]
async fn closing_works_off_what_is_ready_and_drops_what_is_delayed() {
    let queue = WorkQueue::new("tests");
    queue.add("ready");
    queue.add_after("later", Duration::from_secs(3600));
    queue.close();
    queue.add("refused");
    assert_eq!(queue.next().await.as_deref(), Some(&"ready"));
    assert!(queue.next().await.is_none());
    assert!(queue.next().await.is_none());
}

#[tokio::test]
async fn every_idle_worker_finds_work() {
    let queue = WorkQueue::new("tests");
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let queue = queue.clone();
            tokio::spawn(async move {
                let mut done = Vec::new();
                while let Some(key) = queue.next().await {
                    done.push(*key);
                    tokio::task::yield_now().await;
                }
                done
            })
        })
        .collect();
    tokio::task::yield_now().await;
    for key in 0..1000 {
        queue.add(key);
    }
    queue.close();
    let mut all = Vec::new();
    for worker in workers {
        all.extend(worker.await.unwrap());
    }
    all.sort_unstable();
    assert_eq!(all, (0..1000).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_queue_counts() {
    let queue = WorkQueue::new("counted");
    queue.add("a");
    queue.add("a");
    queue.add("b");
    let work = queue.next().await.unwrap();
    queue.add("a");
    let sample = |name: &str| {
        let text = super::metrics();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}{{name=\"counted\"}} ")).map(ToOwned::to_owned));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse::<f64>().unwrap()
    };
    assert_eq!((sample("workqueue_adds_total"), sample("workqueue_depth")), (3.0, 1.0));
    assert_eq!((sample("workqueue_queue_duration_seconds_count"), sample("workqueue_work_duration_seconds_count")), (1.0, 0.0));
    assert!(sample("workqueue_unfinished_work_seconds") > 0.0 && sample("workqueue_longest_running_processor_seconds") > 0.0);
    drop(work);
    assert_eq!((sample("workqueue_depth"), sample("workqueue_work_duration_seconds_count")), (2.0, 1.0), "it was added in work");
    assert_eq!(sample("workqueue_unfinished_work_seconds"), 0.0);
    queue.add_rate_limited("c");
    assert_eq!(sample("workqueue_retries_total"), 1.0);
    assert!(super::metrics().contains("workqueue_work_duration_seconds_bucket{name=\"counted\",le=\"+Inf\"} 1\n"));
    drop(queue);
    assert_eq!(sample("workqueue_depth"), 0.0, "nobody will take what is ready");
}
