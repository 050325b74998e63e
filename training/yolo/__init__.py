"""A yolo11n-seg that finds drawn marks: kind and ink."""
