"""What a run says of itself: on the console, in TensorBoard, in its report."""
