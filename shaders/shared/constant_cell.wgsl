// Cell and reset of a pipeline that is made for one layer.
override CUBA: bool = false;
override TO_VALUE: bool = false;

fn is_cuba(p: Params) -> bool {
    return CUBA;
}

fn is_to_value(p: Params) -> bool {
    return TO_VALUE;
}
