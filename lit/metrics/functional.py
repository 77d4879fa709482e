"""The metrics as functions of one batch, under torchmetrics' names and argument orders."""

from __future__ import annotations

from lit.metrics import areas, curves, regression, scores, tables, tasks, text
from lit.metrics import stat_scores as stat_scores_module
from lit.metrics.base import functional

# Where the order of arguments differs from the class's.
_MULTICLASS = "num_classes average top_k multidim_average ignore_index validate_args"
_MULTICLASS_BETA = f"beta {_MULTICLASS}"
_CURVE = "task thresholds num_classes num_labels average ignore_index validate_args"

# ---------------------------------------------------------------------- by task
stat_scores = functional(tasks.StatScores, "stat_scores")
accuracy = functional(tasks.Accuracy, "accuracy")
precision = functional(tasks.Precision, "precision")
recall = functional(tasks.Recall, "recall")
specificity = functional(tasks.Specificity, "specificity")
f1_score = functional(tasks.F1Score, "f1_score")
fbeta_score = functional(tasks.FBetaScore, "fbeta_score")
confusion_matrix = functional(tasks.ConfusionMatrix, "confusion_matrix")
cohen_kappa = functional(tasks.CohenKappa, "cohen_kappa")
matthews_corrcoef = functional(tasks.MatthewsCorrCoef, "matthews_corrcoef")
jaccard_index = functional(tasks.JaccardIndex, "jaccard_index")
auroc = functional(tasks.AUROC, "auroc")
average_precision = functional(tasks.AveragePrecision, "average_precision")
roc = functional(tasks.ROC, "roc", _CURVE)
precision_recall_curve = functional(tasks.PrecisionRecallCurve, "precision_recall_curve", _CURVE)

# ---------------------------------------------------------------------- one task each
binary_stat_scores = functional(stat_scores_module.BinaryStatScores, "binary_stat_scores")
multiclass_stat_scores = functional(stat_scores_module.MulticlassStatScores, "multiclass_stat_scores", _MULTICLASS)
multilabel_stat_scores = functional(stat_scores_module.MultilabelStatScores, "multilabel_stat_scores")
binary_accuracy = functional(scores.BinaryAccuracy, "binary_accuracy")
multiclass_accuracy = functional(scores.MulticlassAccuracy, "multiclass_accuracy", _MULTICLASS)
multilabel_accuracy = functional(scores.MultilabelAccuracy, "multilabel_accuracy")
binary_precision = functional(scores.BinaryPrecision, "binary_precision")
multiclass_precision = functional(scores.MulticlassPrecision, "multiclass_precision", _MULTICLASS)
multilabel_precision = functional(scores.MultilabelPrecision, "multilabel_precision")
binary_recall = functional(scores.BinaryRecall, "binary_recall")
multiclass_recall = functional(scores.MulticlassRecall, "multiclass_recall", _MULTICLASS)
multilabel_recall = functional(scores.MultilabelRecall, "multilabel_recall")
binary_specificity = functional(scores.BinarySpecificity, "binary_specificity")
multiclass_specificity = functional(scores.MulticlassSpecificity, "multiclass_specificity", _MULTICLASS)
multilabel_specificity = functional(scores.MultilabelSpecificity, "multilabel_specificity")
binary_f1_score = functional(scores.BinaryF1Score, "binary_f1_score")
multiclass_f1_score = functional(scores.MulticlassF1Score, "multiclass_f1_score", _MULTICLASS)
multilabel_f1_score = functional(scores.MultilabelF1Score, "multilabel_f1_score")
binary_fbeta_score = functional(scores.BinaryFBetaScore, "binary_fbeta_score")
multiclass_fbeta_score = functional(scores.MulticlassFBetaScore, "multiclass_fbeta_score", _MULTICLASS_BETA)
multilabel_fbeta_score = functional(scores.MultilabelFBetaScore, "multilabel_fbeta_score")
binary_confusion_matrix = functional(tables.BinaryConfusionMatrix, "binary_confusion_matrix")
multiclass_confusion_matrix = functional(tables.MulticlassConfusionMatrix, "multiclass_confusion_matrix")
multilabel_confusion_matrix = functional(tables.MultilabelConfusionMatrix, "multilabel_confusion_matrix")
binary_cohen_kappa = functional(tables.BinaryCohenKappa, "binary_cohen_kappa")
multiclass_cohen_kappa = functional(tables.MulticlassCohenKappa, "multiclass_cohen_kappa")
binary_matthews_corrcoef = functional(tables.BinaryMatthewsCorrCoef, "binary_matthews_corrcoef")
multiclass_matthews_corrcoef = functional(tables.MulticlassMatthewsCorrCoef, "multiclass_matthews_corrcoef")
multilabel_matthews_corrcoef = functional(tables.MultilabelMatthewsCorrCoef, "multilabel_matthews_corrcoef")
binary_jaccard_index = functional(tables.BinaryJaccardIndex, "binary_jaccard_index")
multiclass_jaccard_index = functional(tables.MulticlassJaccardIndex, "multiclass_jaccard_index")
multilabel_jaccard_index = functional(tables.MultilabelJaccardIndex, "multilabel_jaccard_index")
binary_precision_recall_curve = functional(curves.BinaryPrecisionRecallCurve, "binary_precision_recall_curve")
multiclass_precision_recall_curve = functional(curves.MulticlassPrecisionRecallCurve, "multiclass_precision_recall_curve")
multilabel_precision_recall_curve = functional(curves.MultilabelPrecisionRecallCurve, "multilabel_precision_recall_curve")
binary_roc = functional(curves.BinaryROC, "binary_roc")
multiclass_roc = functional(curves.MulticlassROC, "multiclass_roc")
multilabel_roc = functional(curves.MultilabelROC, "multilabel_roc")
binary_auroc = functional(areas.BinaryAUROC, "binary_auroc")
multiclass_auroc = functional(areas.MulticlassAUROC, "multiclass_auroc")
multilabel_auroc = functional(areas.MultilabelAUROC, "multilabel_auroc")
binary_average_precision = functional(areas.BinaryAveragePrecision, "binary_average_precision")
multiclass_average_precision = functional(areas.MulticlassAveragePrecision, "multiclass_average_precision")
multilabel_average_precision = functional(areas.MultilabelAveragePrecision, "multilabel_average_precision")

# ---------------------------------------------------------------------- numbers and text
mean_absolute_error = functional(regression.MeanAbsoluteError, "mean_absolute_error")
mean_squared_error = functional(regression.MeanSquaredError, "mean_squared_error")
mean_absolute_percentage_error = functional(regression.MeanAbsolutePercentageError, "mean_absolute_percentage_error")
r2_score = functional(regression.R2Score, "r2_score")
explained_variance = functional(regression.ExplainedVariance, "explained_variance")
pearson_corrcoef = functional(regression.PearsonCorrCoef, "pearson_corrcoef")
spearman_corrcoef = functional(regression.SpearmanCorrCoef, "spearman_corrcoef")
cosine_similarity = functional(regression.CosineSimilarity, "cosine_similarity")
perplexity = functional(text.Perplexity, "perplexity")
