"""From a folder of videos to a trained network and a report."""
