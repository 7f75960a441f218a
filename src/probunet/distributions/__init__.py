"""What ``model(image)`` returns; imports nets and all below."""
