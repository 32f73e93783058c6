//! Gates on real clusters: a real API server, real controllers and a real Argo CD that follows the branches. Only the
//! kubelet is played.

mod argocd;
mod argocd_api;
mod argocd_sync;
mod by_hand;
mod faults;
mod fixture;
mod fleet;
mod follower;
mod workloads;
