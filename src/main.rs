//! .
fn main() {
    println!("{:?}", libcontainer::container::ContainerStatus::Created);
}
