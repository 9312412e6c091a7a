"""Which of these networks is really better? A cross-validated study of CIFAR-100 classifiers."""
