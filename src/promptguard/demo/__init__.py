"""The main job on real recorded answers: GPT-4 of March 2023 becomes GPT-4 of June 2023 behind one name."""
