"""A model of MLflow around a fitted encoder: histories in, the best items out."""

import joblib
import mlflow
import pandas as pd


class Recommender(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        self.encoder = joblib.load(context.artifacts["encoder"])

    def predict(self, context, model_input, params=None):
        """Return the items and scores of each row of a table with a column of lists, ``items``."""
        k = (params or {}).get("k", 10)
        histories = [list(items) for items in model_input["items"]]
        ids, scores = self.encoder.recommend(histories, k=k)
        return pd.DataFrame({"items": ids.tolist(), "scores": scores.tolist()})


mlflow.models.set_model(Recommender())
