"""Whole runs: training, the test, predictions, the plan, a look at the clips."""

from keras_multigrid.lazy import public_names

__getattr__, __dir__, __all__ = public_names(
    __name__,
    {
        "AllBut": "frozen",
        "Evaluation": "evaluation",
        "Exported": "exporting",
        "export": "exporting",
        "Report": "report",
        "GridProblem": "grid_check",
        "browse": "browsing",
        "check_grids": "grid_check",
        "refuse_grids": "grid_check",
        **dict.fromkeys(
            (
                "Checkpoints",
                "Data",
                "Hardware",
                "Logging",
                "Model",
                "Optimization",
                "Settings",
                "MultiViewTest",
            ),
            "settings",
        ),
        "evaluate": "evaluation",
        "RunCost": "costs",
        "make_plan": "plan",
        "measure": "measuring",
        "predict": "evaluation",
        "TrainedModel": "trained_model",
        **dict.fromkeys(("classify", "classify_passages", "extract_features"), "prediction"),
        "ProbeResult": "probing",
        "probe": "probing",
        "train": "training",
    },
)
