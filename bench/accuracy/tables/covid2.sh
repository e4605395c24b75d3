# COVID against normal; as covid3.
folds=(0/5 1/5 2/5 3/5 4/5)
common=(--data "$data/covid-xray" --classes normal,covid --size 128 --sites 5 --split dirichlet:0.5
    --model darkcovidnet --rounds 60 --class-weights)
# Chosen with tune.sh on validation images of seed 0 (fold 0).
chosen=(--strategy fedavg --rate 0.001)
