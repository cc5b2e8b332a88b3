fn main() {
    use cloud::manifest::render::Target;
    for target in [Target::Kind, Target::Gke] {
        let render = cloud::commands::render::Render { target, out: "manifests".into(), check: false, nfs: None, image: None, workers: None };
        println!("{:?}", render.run());
    }
}
