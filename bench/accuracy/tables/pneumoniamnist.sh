# PneumoniaMNIST 28 px, official test set, 8 hospitals, Dirichlet 0.3.
folds=(all)
common=(--data "$data/medmnist/pneumoniamnist.npz" --classes normal,pneumonia
    --patients "$data/pneumonia-cxr-224/manifest.csv" --size 28 --sites 8 --split dirichlet:0.3
    --model small --rounds 40 --class-weights)
# Chosen with tune.sh on validation images of seed 0 (fold 0).
chosen=(--strategy fedavg --rate 0.003 --norm batch --smoothing 0.1)
