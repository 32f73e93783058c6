//! Servers that take connections and never answer.

use tokio::task::JoinSet;

use super::*;

#[tokio::test]
async fn a_server_that_never_answers_delays_no_other_clusters_questions() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let well = HttpServer::start(|_| Some(Response::json(200, "{}")));
    let folder = tempfile::tempdir().unwrap();
    let to_silent = format!("http://{}", silent.local_addr().unwrap());
    for (name, server) in [("aks-a", to_silent), ("aks-b", well.url(""))] {
        std::fs::write(folder.path().join(name), kubeconfig(&server, &["x"])).unwrap();
    }
    let sources = vec![ClusterSource::Kubeconfigs(folder.path().to_owned())];
    let clusters = Arc::new(clusters(sources));
    let mut waiting = JoinSet::new();
    for _ in 0..100 {
        let clusters = Arc::clone(&clusters);
        waiting.spawn(async move {
            let client = clusters.client("aks-a").await;
            let client = client.map_err(|error| error.to_string())?;
            let answer = request::get(&client, "/version").await;
            answer.map_err(|error| error.to_string())
        });
    }
    // One of them has come so far that it waits for the answer.
    let connected = tokio::time::timeout(Duration::from_secs(5), silent.accept()).await;
    let _connection = connected.unwrap().unwrap();
    let answered = tokio::time::timeout(Duration::from_secs(5), async {
        let client = clusters.client("aks-b").await;
        let client = client.map_err(|error| error.to_string()).unwrap();
        request::get(&client, "/version").await
    });
    assert!(answered.await.unwrap().unwrap().is_some());
    assert!(waiting.try_join_next().is_none(), "they all wait still");
}
