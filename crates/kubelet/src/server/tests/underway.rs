//! What is under way is counted, and what clients leave behind is not.

use super::*;

fn line(path: &str, lasting: bool, count: u32) -> String {
    let labels = format!("method=\"GET\",path=\"{path}\",server_type=\"readwrite\",long_running=\"{lasting}\"");
    format!("kubelet_http_inflight_requests{{{labels}}} {count}\n")
}

#[tokio::test]
async fn who_leaves_is_not_under_way() {
    let served = Served::start().await;
    std::fs::write(&served.runtime.log, super::line("one")).unwrap();
    let request = Request::get("/containerLogs/ns/web/nginx?follow=true").header("host", "n1").body(Empty::new()).unwrap();
    let log = served.send(Some(ADMINS), request).await;
    let response = served.upgrade("/exec/ns/web/nginx?command=sh&input=1&output=1").await;
    let session = hyper::upgrade::on(response).await.unwrap();
    served.shows(&line("containerLogs", false, 1)).await;
    served.shows(&line("exec", true, 1)).await;
    drop((log, session));
    served.shows(&line("containerLogs", false, 0)).await;
    served.shows(&line("exec", true, 0)).await;
    served.end().await;
}
