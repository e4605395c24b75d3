# Paediatric chest X-rays at 64 px, official test set, 5 hospitals, Dirichlet 0.5.
folds=(all)
common=(--data "$data/pneumonia-cxr-224" --size 64 --sites 5 --split dirichlet:0.5
    --model darkcovidnet --rounds 30 --class-weights)
# Chosen with tune.sh on validation images of seed 0 (fold 0).
chosen=(--strategy fedavg --rate 0.001)
