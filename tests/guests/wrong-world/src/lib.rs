//! A sound component that is no agent: it exports something else.

wit_bindgen::generate!({
    inline: "
        package test:wrong-world;
        world wrong { export greet: func() -> string; }
    ",
});

struct Wrong;

impl Guest for Wrong {
    fn greet() -> String {
        "hello".into()
    }
}

export!(Wrong);
