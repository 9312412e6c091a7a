#!/bin/sh
# Every training that the results are made of: sh results/runs.sh cifar100-png-train.tar.gz tiny-imagenet-200.tar
# What is finished is skipped and what was stopped goes on. Then: python -m results.collect runs STUDY..., make results
set -eu
images=$1 unlabelled=$2
train() { python -m cifar100x.train -m data.source="$images" trainer.precision=float32 "$@"; }
pretrain() {
    python -m cifar100x.train -m experiment=pretrain-table1 data.source="$unlabelled" trainer.max_epochs=1 "$@"
}

# Which reading gives the paper's numbers
train study=readings candidate=arch1-hyp1 reading=reported,keep80 fold=0
train study=readings candidate=arch1-hyp1 reading=written trainer.max_epochs=5 fold=0
train study=readings candidate=arch1-hyp1 name=arch1-hyp1-batchnorm reading.batch_norm=batch fold=0 \
    trainer.precision=bf16 # on a machine that is faster at it
train study=readings candidate=arch1-hyp1 name=arch1-hyp1-fixed-order data.reshuffle=false fold=0

# Which learning rate and batch size the recipe modern should have
search="study=search recipe=modern trainer.max_epochs=6 fold=0"
train $search candidate=arch1-hyp1 name=arch1-rate0.2 learning_rate=0.2
train $search candidate=arch1-hyp1 name=arch1-rate0.2-batch64 learning_rate=0.2 data.batch_size=64
train $search candidate=resnet20 name=resnet20-rate0.2-batch64 learning_rate=0.2 data.batch_size=64

# What a recipe is worth
train study=recipes candidate=arch1-hyp1 recipe=modern trainer.max_epochs=30 fold=0
train study=recipes candidate=resnet20 recipe=paper trainer.max_epochs=30 fold=0
train study=recipes candidate=resnet20 recipe=modern learning_rate=0.2 data.batch_size=64 trainer.max_epochs=30 fold=0

# The same over folds, on a machine that is faster at bf16
train study=modern candidate=resnet20 recipe=modern learning_rate=0.2 data.batch_size=64 trainer.max_epochs=30 \
    trainer.precision=bf16 fold=0,1,2,3,4
train study=modern candidate=arch1-hyp1 recipe=modern trainer.max_epochs=30 trainer.precision=bf16 fold=0,1,2,3,4

# Table I, whole rows
train study=table1 candidate=arch1-hyp1 trainer.precision=bf16 fold=0,1,2,3,4

# Table I, the ranking: a twentieth of the images, until they are overfitted; bf16 on a machine that is faster at it
ranking="study=ranking trainer.precision=bf16"
pretrain $ranking
for candidate in arch1-hyp1 arch2-hyp1 arch1-hyp2 arch2-hyp2 arch1-hyp3 arch2-hyp3 t-arch1 t-arch2; do
    train $ranking candidate=$candidate variances=moderated data.limit=2500 trainer.max_epochs=20 fold=0,1,2,3,4
done

# Why transfer lost: encoders of other penalties and the variational one; probes of each
encoders="study=encoders trainer.precision=bf16"
pretrain $encoders
pretrain $encoders name=autoencoder-mean sparsity.reduction=mean
pretrain $encoders name=autoencoder-free sparsity.weight=0
pretrain $encoders model=vae
train $encoders candidate=t-arch2 model.encoder=autoencoder,autoencoder-mean,autoencoder-free,vae fold=0,1,2,3,4
for encoder in autoencoder autoencoder-mean autoencoder-free vae; do
    python -m cifar100x.probe study=encoders encoder=$encoder data=cifar100 data.source="$images" data.limit=2500
done

# Dense layers twice as wide, on an encoder pre-trained again
pretrain study=dense trainer.precision=float32
dense="study=dense candidate=t-arch2 trainer.max_epochs=30"
train $dense fold=0,1,2
train $dense name=t-arch2-wide model.net.dense=[2048,1024,1024,512,512] fold=0,1,2

# On one GPU, all beside each other: fold 0 of Table I, and ResNet-20 once more
nvidia-cuda-mps-control -d
mkdir -p runs/gpu-table1
cp -r runs/dense/autoencoder runs/gpu-table1/
on_gpu() { python -m cifar100x.train data.source="$images" "$@" & }
for candidate in arch1-hyp1 arch1-hyp2 arch2-hyp1 arch2-hyp2 t-arch1 t-arch2; do
    on_gpu study=gpu-table1 candidate=$candidate fold=0
done
for fold in 0 1 2 3 4; do
    on_gpu study=gpu-modern candidate=resnet20 recipe=modern learning_rate=0.2 data.batch_size=64 \
        trainer.max_epochs=30 fold=$fold
done
wait
echo quit | nvidia-cuda-mps-control
